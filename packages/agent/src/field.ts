import { normalize } from "node:path";
import { BelayError } from "@belay/shared";
import { type Document, isMap, isScalar, isSeq, type LineCounter, type Node, type Pair } from "yaml";

/** One value of a YAML file that knows where it stands, so that every complaint names file, line and field. */
export class Field {
  readonly #file: string;
  readonly #lines: LineCounter;
  readonly #node: Node | null;
  readonly #path: string;
  readonly #line: number;

  private constructor(file: string, lines: LineCounter, node: Node | null, path: string, line: number) {
    this.#file = file;
    this.#lines = lines;
    this.#node = node;
    this.#path = path;
    this.#line = node?.range ? lines.linePos(node.range[0]).line : line;
  }

  static root(file: string, lines: LineCounter, document: Document.Parsed): Field {
    return new Field(file, lines, document.contents, "", 1);
  }

  /** True if the file doesn't say, or says null. */
  get absent(): boolean {
    return this.#node === null || (isScalar(this.#node) && this.#node.value === null);
  }

  /** The members of a mapping. Refuses names that are not in `known`; without `known`, any name goes. */
  members(known?: readonly string[]): Map<string, Field> {
    const members = new Map<string, Field>();
    if (this.absent) return members;
    if (!isMap(this.#node)) throw this.bad("must be a mapping");
    for (const pair of this.#node.items as Pair<Node, Node | null>[]) {
      const name = String(isScalar(pair.key) ? pair.key.value : pair.key);
      const line = pair.key.range ? this.#lines.linePos(pair.key.range[0]).line : this.#line;
      const path = this.#path === "" ? name : `${this.#path}.${name}`;
      const field = new Field(this.#file, this.#lines, pair.value, path, line);
      if (known !== undefined && !known.includes(name))
        throw field.bad("is not a known field", `known: ${known.join(", ")}`);
      members.set(name, field);
    }
    return members;
  }

  /** One member of a mapping, absent if the file doesn't say. */
  member(name: string): Field {
    const path = this.#path === "" ? name : `${this.#path}.${name}`;
    return this.members().get(name) ?? new Field(this.#file, this.#lines, null, path, this.#line);
  }

  list(): Field[] {
    if (this.absent) return [];
    if (!isSeq(this.#node)) throw this.bad("must be a list");
    return (this.#node.items as Node[]).map(
      (node, index) => new Field(this.#file, this.#lines, node, `${this.#path}[${index}]`, this.#line),
    );
  }

  text(fallback?: string): string {
    if (this.absent && fallback !== undefined) return fallback;
    const value = this.#scalar();
    if (typeof value !== "string" || value === "") throw this.bad("must be a text");
    return value;
  }

  /** Text that matches a pattern; `what` describes it to a person. */
  matching(pattern: RegExp, what: string): string {
    const text = this.text();
    if (!pattern.test(text)) throw this.bad(`must be ${what}, not ${JSON.stringify(text)}`);
    return text;
  }

  /** An absolute path. */
  path(fallback?: string): string {
    const path = this.text(fallback);
    if (!path.startsWith("/") || path.includes("\0"))
      throw this.bad(`must be an absolute path, not ${JSON.stringify(path)}`);
    return path;
  }

  /** A path that does not lie in this folder. */
  pathOutside(folder: string, fallback?: string): string {
    const path = normalize(this.path(fallback));
    if (!`${path}/`.startsWith(`${normalize(folder).replace(/\/+$/, "")}/`)) return path;
    throw this.bad(`lies in ${folder}, where the agent itself writes`, "keep it in /etc/belay");
  }

  /** A program, by its absolute path, and its arguments. */
  argv(): string[] {
    const words = this.list().map((word) => word.text());
    if (words.length === 0) throw this.bad("must be a list of at least one word, the program first");
    if (!words[0]?.startsWith("/")) throw this.bad("must begin with the program's absolute path");
    return words;
  }

  oneOf<T extends string>(choices: readonly T[], fallback?: T): T {
    const text = this.text(fallback);
    const choice = choices.find((each) => each === text);
    if (choice === undefined) throw this.bad(`must be one of ${choices.join(", ")}, not ${JSON.stringify(text)}`);
    return choice;
  }

  integer(range: { min: number; max: number; fallback: number }): number {
    if (this.absent) return range.fallback;
    const value = this.#scalar();
    if (typeof value !== "number" || !Number.isInteger(value) || value < range.min || value > range.max) {
      throw this.bad(`must be a whole number from ${range.min} to ${range.max}`);
    }
    return value;
  }

  /** An error about this very field. */
  bad(what: string, hint?: string): BelayError {
    const field = this.#path || "the file";
    return new BelayError("config-invalid", `${this.#file}:${this.#line}: ${field} ${what}`, {
      hint: hint ?? `correct ${field} in ${this.#file}`,
      context: { file: this.#file, line: this.#line, field: this.#path },
    });
  }

  #scalar(): unknown {
    if (this.absent) throw this.bad("is missing");
    if (!isScalar(this.#node)) throw this.bad("must be a single value");
    return this.#node.value;
  }
}
