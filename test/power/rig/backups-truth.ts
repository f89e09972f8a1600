import { createHash } from "node:crypto";
import { existsSync, readdirSync, readFileSync } from "node:fs";
import { join } from "node:path";

export const KEEP_BACKUPS = 2;

/** The backups that a host's agent has said are there, and what they hold. */
export class BackupsTruth {
  readonly dir: string;
  readonly #complain: (what: string) => void;
  readonly #kept = new Map<string, string>();

  constructor(dir: string, complain: (what: string) => void) {
    this.dir = dir;
    this.#complain = complain;
  }

  /** From now on it counts. Gives what it holds. */
  keep(id: string): string {
    const content = this.#contentOf(id);
    this.#kept.set(id, content);
    return content;
  }

  /** Null: there is none. */
  newest(): { id: string; content: string } | null {
    const [entry] = [...this.#kept].slice(-1);
    return entry === undefined ? null : { id: entry[0], content: entry[1] };
  }

  pruned(): void {
    const there = this.#there();
    for (const id of this.#kept.keys()) if (!there.includes(id)) this.#kept.delete(id);
  }

  look(pruning: boolean): void {
    const there = this.#there();
    for (const id of there) {
      const content = this.#contentOf(id);
      const known = this.#kept.get(id);
      if (known !== undefined && known !== content) this.#complain(`backup ${id} holds ${content}, not ${known}`);
    }
    const gone = [...this.#kept.keys()].filter((id) => !there.includes(id));
    // Which are the newest, those of swaps that were undone included, is the agent's to say: it must leave enough of them.
    const tooMany = pruning ? there.length < Math.min(KEEP_BACKUPS, this.#kept.size) : gone.length > 0;
    if (tooMany) this.#complain(`backups ${gone} are gone`);
  }

  #there(): string[] {
    if (!existsSync(this.dir)) return [];
    return readdirSync(this.dir).filter((name) => !name.startsWith("."));
  }

  /** The one item of a backup, held to the backup's own manifest. */
  #contentOf(id: string): string {
    const dir = join(this.dir, id);
    try {
      const { items } = JSON.parse(readFileSync(join(dir, "manifest.json"), "utf8"));
      const content = readFileSync(join(dir, items[0].file));
      if (createHash("sha256").update(content).digest("hex") === items[0].sha256) return content.toString();
    } catch (error) {
      this.#complain(`backup ${id}: ${error}`);
      return "";
    }
    this.#complain(`backup ${id} is damaged`);
    return "";
  }
}
