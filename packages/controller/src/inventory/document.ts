import { BelayError } from "@belay/shared";
import { isAlias, isMap, isScalar, isSeq, LineCounter, type Node, parseDocument } from "yaml";

/** One thing wrong in a file: where, in which field, what, and what to do. */
export interface Problem {
  readonly code: string;
  /** `file:line:column` */
  readonly where: string;
  /** `clusters[0].hosts[1].roles`; empty for the file as a whole. */
  readonly field: string;
  readonly message: string;
  readonly hint?: string;
}

/** A file that is longer than this declares something else than a fleet. */
const MAX_CHARACTERS = 16 * 1024 * 1024;

/**
 * A YAML file that is being read, and all that is wrong in it. Reading goes on after a problem, so that a person sees
 * every one at once; `end` throws if there was any.
 */
export class Declaration {
  readonly root: Field;
  readonly #file: string;
  readonly #code: string;
  readonly #lines = new LineCounter();
  readonly #problems: Problem[] = [];

  /** `code` is the error's code where a problem has none of its own, such as `fleet-invalid`. */
  constructor(text: string, file: string, code: string) {
    this.#file = file;
    this.#code = code;
    if (text.length > MAX_CHARACTERS) {
      throw new BelayError(code, `${file}: ${text.length} characters; the limit is ${MAX_CHARACTERS}`);
    }
    const document = parseDocument(veilRanges(text), { lineCounter: this.#lines, prettyErrors: false });
    // Only the first: what follows a broken bracket is noise.
    const [error] = document.errors;
    if (error !== undefined) {
      this.#problems.push({ code, where: this.#at(error.pos[0]), field: "", message: error.message });
    }
    this.root = new Field(this, document.contents, "", 0);
    if (this.#problems.length > 0) this.end();
  }

  /** Notes a problem at a field and goes on. */
  note(field: Field, message: string, more: { code?: string; hint?: string } = {}): void {
    this.#problems.push({
      code: more.code ?? this.#code,
      where: this.#at(field.offset),
      field: field.path,
      message,
      ...(more.hint === undefined ? {} : { hint: more.hint }),
    });
  }

  /** Throws what was noted, all together, under the one code they share or else the file's own. Nothing noted: nothing. */
  end(): void {
    const [first, ...others] = this.#problems;
    if (first === undefined) return;
    const code = others.every((problem) => problem.code === first.code) ? first.code : this.#code;
    const lines = this.#problems.map(({ where, field, message }) => `${where}: ${field}${field ? ": " : ""}${message}`);
    const hint = this.#problems.find((problem) => problem.hint !== undefined)?.hint;
    throw new BelayError(code, lines.slice(0, 20).join("\n") + more(lines.length - 20), {
      hint: hint ?? `Correct ${this.#file}; docs/fleet.md describes every field.`,
      context: { file: this.#file, problems: this.#problems },
    });
  }

  #at(offset: number): string {
    const { line, col } = this.#lines.linePos(offset);
    return `${this.#file}:${line}:${col}`;
  }
}

/**
 * One place in a declaration: a value that is there or not, and where. Readers answer undefined when it is absent, and
 * note a problem and answer undefined when it is something else than was asked for.
 */
export class Field {
  readonly path: string;
  readonly offset: number;
  readonly #declaration: Declaration;
  readonly #node: Node | null;

  constructor(declaration: Declaration, node: unknown, path: string, offset: number) {
    this.#declaration = declaration;
    this.#node = node as Node | null;
    this.path = path;
    this.offset = this.#node?.range?.[0] ?? offset;
    if (isAlias(this.#node)) this.note("aliases are not understood here", { hint: "Write the value out." });
  }

  get present(): boolean {
    return this.#node !== null && !(isScalar(this.#node) && this.#node.value === null);
  }

  note(message: string, more: { code?: string; hint?: string } = {}): undefined {
    this.#declaration.note(this, message, more);
    return undefined;
  }

  /** The members of a mapping, each of `known` present or not. A member with another name is a problem. */
  members<K extends string>(known: readonly K[]): Record<K, Field> {
    const found = Object.fromEntries(
      known.map((key) => [key, new Field(this.#declaration, null, this.#join(key), this.offset)]),
    ) as Record<K, Field>;
    for (const field of this.entries()) {
      const key = known.find((name) => name === field.key);
      if (key !== undefined) found[key] = field.value;
      else field.value.note(`there is no field "${field.key}"${didYouMean(field.key, known)}`);
    }
    return found;
  }

  /** All members of a mapping, in order; empty when absent. */
  entries(): { key: string; value: Field }[] {
    if (!this.present) return [];
    if (!isMap(this.#node)) {
      this.note("must be a mapping");
      return [];
    }
    return this.#node.items.map(({ key, value }) => {
      const name = isScalar(key) ? String(key.value) : "?";
      const offset = isScalar(key) ? (key.range?.[0] ?? this.offset) : this.offset;
      return { key: name, value: new Field(this.#declaration, value, this.#join(name), offset) };
    });
  }

  /** The items of a list; empty when absent. */
  items(): Field[] {
    if (!this.present) return [];
    if (!isSeq(this.#node)) {
      this.note("must be a list");
      return [];
    }
    return this.#node.items.map(
      (item, index) => new Field(this.#declaration, item, `${this.path}[${index}]`, this.offset),
    );
  }

  isList(): boolean {
    return isSeq(this.#node);
  }

  /** A scalar as it was written, whatever its type: `5.4` stays `5.4`, `yes` stays `yes`. */
  text(): string | undefined {
    if (!this.present) return undefined;
    if (!isScalar(this.#node)) return this.note("must be a single value");
    const { value, source } = this.#node;
    return unveilRanges(typeof value === "string" ? value : (source ?? String(value)));
  }

  /** `text`, and its absence is a problem. */
  required(): string | undefined {
    return this.present ? this.text() : this.note("is missing");
  }

  count(minimum: number, maximum: number): number | undefined {
    const text = this.text();
    if (text === undefined) return undefined;
    const value = Number(text);
    if (Number.isInteger(value) && value >= minimum && value <= maximum && text.trim() !== "") return value;
    return this.note(`must be a whole number from ${minimum} to ${maximum}, not "${text}"`);
  }

  flag(): boolean | undefined {
    const text = this.text();
    if (text === undefined || text === "true") return text === undefined ? undefined : true;
    return text === "false" ? false : this.note(`must be true or false, not "${text}"`);
  }

  choice<T extends string>(words: readonly T[], more: { code?: string } = {}): T | undefined {
    const text = this.text();
    if (text === undefined) return undefined;
    const word = words.find((one) => one === text);
    return word ?? this.note(`must be ${words.join(", ")}, not "${text}"${didYouMean(text, words)}`, more);
  }

  #join(key: string): string {
    return this.path === "" ? key : `${this.path}.${key}`;
  }
}

/**
 * `{ name: node-[001:200] }` reads well and is no YAML: inside braces a bracket ends a plain word. So while YAML is being
 * read, the brackets of a range are two other characters, of the same length, so that every position stays true.
 */
function veilRanges(text: string): string {
  return text.replace(/\[(\d+:\d+)\]/g, "\u27e6$1\u27e7");
}

function unveilRanges(text: string): string {
  return text.replace(/\u27e6(\d+:\d+)\u27e7/g, "[$1]");
}

function more(count: number): string {
  return count > 0 ? `\n... and ${count} more` : "";
}

/** `, did you mean "hosts"?` when one of the known words is near, else nothing. */
function didYouMean(word: string, known: readonly string[]): string {
  const nearest = known
    .map((name) => ({ name, distance: editDistance(word.toLowerCase(), name.toLowerCase()) }))
    .sort((a, b) => a.distance - b.distance)[0];
  if (nearest === undefined || nearest.distance > Math.max(1, Math.floor(nearest.name.length / 3))) return "";
  return `; did you mean "${nearest.name}"?`;
}

/** Edits between two short words: a letter more, less, another one, or two neighbours swapped. */
function editDistance(a: string, b: string): number {
  let [older, row]: [number[], number[]] = [[], Array.from({ length: b.length + 1 }, (_, column) => column)];
  for (let i = 1; i <= a.length; i++) {
    const next = [i];
    for (let j = 1; j <= b.length; j++) {
      const replace = (row[j - 1] ?? 0) + (a[i - 1] === b[j - 1] ? 0 : 1);
      const swapped = i > 1 && j > 1 && a[i - 1] === b[j - 2] && a[i - 2] === b[j - 1];
      const swap = swapped ? (older[j - 2] ?? 0) + 1 : Number.POSITIVE_INFINITY;
      next.push(Math.min(replace, swap, (row[j] ?? 0) + 1, (next[j - 1] ?? 0) + 1));
    }
    [older, row] = [row, next];
  }
  return row[b.length] ?? 0;
}
