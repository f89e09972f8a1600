export interface Heading {
  name: string;
  section: 1 | 5 | 8;
  /** The last change, as a date. */
  date: string;
  /** `Belay 0.1.0` */
  source: string;
}

/** A manual page of the Markdown that our documents are written in: headings, paragraphs, lists, tables, code. */
export function manualPage(markdown: string, { name, section, date, source }: Heading): string {
  const head = [".TH", quoted(name.toUpperCase()), String(section), quoted(date), quoted(source), quoted("Belay")];
  // Neither words cut at the right edge nor lines blown up to it: what people copy from here are commands.
  return [head.join(" "), ".nh", ".ad l", ...blocksOf(markdown).flatMap(block), ""].join("\n");
}

/** What belongs together: a heading, a paragraph, a list's item, a table, or a piece of code. */
function blocksOf(markdown: string): string[][] {
  const blocks: string[][] = [];
  let open: string[] | null = null;
  let code = false;
  for (const line of markdown.split("\n")) {
    const fence = line.startsWith("```");
    const begins =
      !code && (fence || /^(#|- |<!--)/.test(line) || (line.startsWith("|") && !open?.[0]?.startsWith("|")));
    if (!code && !fence && line.trim() === "") {
      open = null;
      continue;
    }
    if (open === null || begins) {
      open = [];
      blocks.push(open);
    }
    open.push(line);
    if (!code && line.startsWith("#")) open = null;
    if (fence) {
      code = !code;
      if (!code) open = null;
    }
  }
  return blocks;
}

function block(lines: string[]): string[] {
  const [first = ""] = lines;
  const text = lines.map((line) => line.trim()).join(" ");
  if (first.startsWith("<!--") || first.startsWith("# ")) return [];
  if (first.startsWith("## "))
    return [`.SH ${quoted(inline(text.slice(3)).toUpperCase().replaceAll("\\FB", "\\fB").replaceAll("\\FR", "\\fR"))}`];
  if (first.startsWith("### ")) return [`.SS ${quoted(inline(text.slice(4)))}`];
  if (first.startsWith("```")) return [".PP", ".RS 4", ".EX", ...lines.slice(1, -1).map(verbatim), ".EE", ".RE"];
  if (first.startsWith("- ")) return [".IP \\(bu 2", guarded(inline(text.slice(2)))];
  if (first.startsWith("|")) return table(lines);
  return [".PP", guarded(inline(text))];
}

/** A row is a term and what is said of it. With several columns, each says its name. */
function table([header = "", , ...rows]: string[]): string[] {
  const names = cells(header);
  return rows.flatMap((row) => {
    const all = cells(row);
    const at = Math.max(
      0,
      all.findIndex((cell) => cell !== ""),
    );
    const term = all[at] ?? "";
    const said = all.flatMap((cell, index) => {
      if (cell === "" || index <= at) return [];
      const name = names[index] ?? "";
      return [all.length > 2 && name !== "" ? `${name}: ${cell}` : cell];
    });
    return [".TP", `\\fB${inline(term).replace(/\\f[BIR]/g, "")}\\fR`, guarded(inline(said.join("; ") || " "))];
  });
}

function cells(row: string): string[] {
  return row
    .split(/(?<!\\)\|/)
    .slice(1, -1)
    .map((cell) => cell.trim().replaceAll("\\|", "|"));
}

function inline(text: string): string {
  return escaped(text.replace(/\[([^\]]+)\]\([^)]*\)/g, "$1"))
    .replace(/`([^`]+)`/g, "\\fB$1\\fR")
    .replace(/\*\*([^*]+)\*\*/g, "\\fB$1\\fR")
    .replace(/(?<![\w*])\*([^* ][^*]*)\*(?!\w)/g, "\\fI$1\\fR");
}

function verbatim(line: string): string {
  return guarded(escaped(line));
}

function escaped(text: string): string {
  return text.replaceAll("\\", "\\e").replaceAll("-", "\\-").replaceAll("'", "\\(aq");
}

/** A line that begins with a dot would be a request. */
function guarded(line: string): string {
  return /^[.']/.test(line) ? `\\&${line}` : line;
}

function quoted(text: string): string {
  return `"${text.replaceAll('"', "\\(dq")}"`;
}
