"""Model families of the shipped libraries, and the protocol that every family follows."""
