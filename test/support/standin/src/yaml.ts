/**
 * The part of YAML that a teleport.yaml uses: nested mappings, lists, plain and quoted scalars, comments. A whole YAML
 * library would add a third to the time of every start. What it does not know it refuses, with the line.
 */
export type Yaml = string | number | boolean | null | readonly Yaml[] | { readonly [key: string]: Yaml };

interface Line {
  readonly number: number;
  readonly indent: number;
  readonly text: string;
}

/** Parses `source`. Throws Error that names the line. */
export function parseYaml(source: string): Yaml {
  const lines = source.split("\n").flatMap((raw, index): Line[] => {
    const text = raw.replace(/(^|\s)#.*$/, "").trimEnd();
    if (text.trim() === "" || text.trim() === "---") return [];
    return [{ number: index + 1, indent: text.length - text.trimStart().length, text: text.trimStart() }];
  });
  const [first] = lines;
  if (first === undefined) return null;
  const value = takeBlock(lines, first.indent);
  if (lines[0] !== undefined) throw new Error(`line ${lines[0].number}: unexpected indentation`);
  return value;
}

function takeBlock(lines: Line[], indent: number): Yaml {
  return lines[0]?.text.startsWith("- ") ? takeList(lines, indent) : takeMapping(lines, indent);
}

function takeList(lines: Line[], indent: number): Yaml {
  const items: Yaml[] = [];
  for (let line = lines[0]; line?.indent === indent && line.text.startsWith("- "); line = lines[0]) {
    items.push(scalar(line.text.slice(2), line));
    lines.shift();
  }
  return items;
}

function takeMapping(lines: Line[], indent: number): Yaml {
  const members: Record<string, Yaml> = {};
  for (let line = lines[0]; line?.indent === indent; line = lines[0]) {
    const pair = /^([A-Za-z0-9_-]+):(?:\s+(.*))?$/.exec(line.text);
    if (pair?.[1] === undefined) throw new Error(`line ${line.number}: expected "key: value"`);
    lines.shift();
    const nested = lines[0] !== undefined && lines[0].indent > indent ? lines[0].indent : null;
    if (pair[2] !== undefined) members[pair[1]] = scalar(pair[2], line);
    else members[pair[1]] = nested === null ? null : takeBlock(lines, nested);
  }
  return members;
}

function scalar(text: string, line: Line): Yaml {
  const word = text.trim();
  if (word.startsWith("[")) {
    if (!word.endsWith("]")) throw new Error(`line ${line.number}: a list must end on its own line`);
    const inner = word.slice(1, -1).trim();
    return inner === "" ? [] : inner.split(",").map((item) => scalar(item, line));
  }
  if (/^"[^"\\]*"$|^'[^']*'$/.test(word)) return word.slice(1, -1);
  if (/^[{&*!|>"'%@`]/.test(word)) throw new Error(`line ${line.number}: ${word} is beyond the YAML understood here`);
  if (/^(true|yes|on)$/.test(word)) return true;
  if (/^(false|no|off)$/.test(word)) return false;
  if (/^(null|~)$/.test(word)) return null;
  return /^-?[0-9]+$/.test(word) ? Number(word) : word;
}
