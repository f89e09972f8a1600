/** Colours are the only escape sequences that may reach a terminal. */
const COLOUR = "\\u001b\\[\\d{1,3}m";
const COLOURS = new RegExp(COLOUR, "g");
const COLOUR_OR_CONTROL = new RegExp(`(${COLOUR})|[\\u0000-\\u001f\\u007f-\\u009f]+`, "g");
const PIECES = new RegExp(`${COLOUR}|[^]`, "gu");

/**
 * One line that is safe to show: what agents and people wrote may hold line breaks or sequences that take a terminal
 * over, and none of them comes through.
 */
export function safeLine(text: string): string {
  return text.replace(COLOUR_OR_CONTROL, (_, colour: string | undefined) => colour ?? " ");
}

/** How many columns a line takes, colours not counted. */
export function widthOf(line: string): number {
  return [...line.replace(COLOURS, "")].length;
}

/** Cuts a line to so many columns; what is cut off shows as an ellipsis, colours are ended. */
export function fit(line: string, columns: number): string {
  if (widthOf(line) <= columns) return line;
  let out = "";
  let left = columns - 1;
  for (const piece of line.match(PIECES) ?? []) {
    if (piece.length > 1 && piece.startsWith("\u001b")) out += piece;
    else if (left-- > 0) out += piece;
    else break;
  }
  return `${out}…${out.includes("\u001b") ? "\u001b[0m" : ""}`;
}

export function pad(text: string, columns: number): string {
  return text + " ".repeat(Math.max(0, columns - widthOf(text)));
}

/** Rows as lines: every column as wide as its widest cell, two spaces between, none at the end of a line. */
export function table(rows: readonly (readonly string[])[]): string[] {
  const widths: number[] = [];
  for (const row of rows) {
    row.forEach((cell, column) => {
      widths[column] = Math.max(widths[column] ?? 0, widthOf(cell));
    });
  }
  return rows.map((row) =>
    row
      .map((cell, column) => pad(cell, widths[column] ?? 0))
      .join("  ")
      .trimEnd(),
  );
}

/** A table with its head; `none` is said in place of an empty one. */
export function listing(head: readonly string[], rows: readonly (readonly string[])[], none: string): string[] {
  return rows.length === 0 ? [none] : table([head, ...rows]);
}

/** Breaks words into lines of so many columns; a word that is longer has a line of its own. */
export function wrap(text: string, columns: number): string[] {
  const lines: string[] = [];
  let line = "";
  for (const word of text.split(" ")) {
    if (line !== "" && widthOf(line) + 1 + widthOf(word) > columns) {
      lines.push(line);
      line = word;
    } else {
      line = line === "" ? word : `${line} ${word}`;
    }
  }
  return [...lines, line];
}

export function plural(count: number, one: string, many = `${one}s`): string {
  return `${count} ${count === 1 ? one : many}`;
}

/** `a, b, c and 7 more` */
export function names(list: readonly string[], shown: number, more = 0): string {
  const hidden = Math.max(0, list.length - shown) + more;
  const text = list.slice(0, shown).join(", ");
  return hidden === 0 ? text : `${text} and ${hidden} more`;
}

/** Text of several lines, as the lines it is made of. */
export function linesOf(text: string): string[] {
  return text.replace(/\n$/, "").split("\n");
}
