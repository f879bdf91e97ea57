// Sort tables by their headings, and search long tables. Without this script the tables stand as they were written.
"use strict";
const order = new Intl.Collator("en", { numeric: true });

function key(row, at) {
  const cell = row.cells[at];
  return cell.dataset.key ?? cell.textContent.trim();
}

function sort(table, at, head) {
  const down = head.getAttribute("aria-sort") === "ascending";
  for (const other of head.parentElement.cells) other.removeAttribute("aria-sort");
  head.setAttribute("aria-sort", down ? "descending" : "ascending");
  const body = table.tBodies[0];
  const rows = [...body.rows].sort((a, b) => {
    const [x, y] = [key(a, at), key(b, at)];
    // Dashes stand for unknown values, and are last in either order.
    if (x === "–" || y === "–") return (x === "–") - (y === "–");
    return (down ? -1 : 1) * (x !== "" && y !== "" && !isNaN(x) && !isNaN(y) ? x - y : order.compare(x, y));
  });
  body.append(...rows);
}

for (const table of document.querySelectorAll("table[data-sortable]")) {
  [...table.tHead.rows[0].cells].forEach((head, at) => {
    if (!head.textContent.trim()) return;
    const button = document.createElement("button");
    button.type = "button";
    button.append(...head.childNodes);
    button.addEventListener("click", () => sort(table, at, head));
    head.append(button);
  });
}

for (const table of document.querySelectorAll("table[data-searchable]")) {
  const input = document.createElement("input");
  const count = document.createElement("span");
  input.type = "search";
  input.placeholder = "Search";
  input.setAttribute("aria-label", "Search: " + table.dataset.searchable);
  count.setAttribute("role", "status");
  input.addEventListener("input", () => {
    const phrase = input.value.toLowerCase().trim();
    const rows = [...table.tBodies[0].rows].map((row) => [row, [...row.cells].map((cell) => cell.textContent).join(" ").toLowerCase()]);
    // The words as they stand, such as a date; where no row has them, each word anywhere in the row.
    const words = rows.some(([, text]) => text.includes(phrase)) ? [phrase] : phrase.split(/\s+/);
    let shown = 0;
    for (const [row, text] of rows) {
      row.hidden = !words.every((word) => text.includes(word));
      shown += !row.hidden;
    }
    count.textContent = phrase ? shown + " of " + rows.length + " rows" : "";
  });
  const line = document.createElement("p");
  line.className = "search";
  line.append(input, count);
  table.parentElement.before(line);
}

// Where a time axis is wider than the screen, the newest days are shown first.
for (const box of document.querySelectorAll(".newest")) box.scrollLeft = box.scrollWidth;

// A link to something folded opens it.
function open() {
  const target = location.hash && document.getElementById(decodeURIComponent(location.hash.slice(1)));
  for (let part = target; part; part = part.parentElement) if (part.tagName === "DETAILS") part.open = true;
  if (target) target.scrollIntoView();
}
addEventListener("hashchange", open);
open();
