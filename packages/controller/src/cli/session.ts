import { Api } from "./api.js";
import { Client } from "./client.js";
import type { Outside } from "./outside.js";
import { type Style, styleFor } from "./render/style.js";
import { safeLine } from "./render/text.js";
import { keptTokenFile, readSettings, readWayIn, type SettingFlags, type WayIn } from "./settings.js";

/** Options that every command has. */
export interface CommonOptions extends SettingFlags {
  readonly json?: true;
}

/** What one command works with: a way out, and a way to belayd if it asks for one. */
export class Session {
  readonly outside: Outside;
  readonly json: boolean;
  readonly style: Style;
  readonly #flags: SettingFlags;

  constructor(outside: Outside, options: CommonOptions) {
    this.outside = outside;
    this.json = options.json === true;
    this.style = styleFor(outside.out, outside.env);
    this.#flags = options;
  }

  /** Who asks, where there is no belayd that would know. */
  get user(): string {
    return this.outside.userName;
  }

  /** belayd, which knows by the token in whose name it is spoken to. Throws what `readSettings` throws. */
  async connect(): Promise<{ readonly api: Api }> {
    const settings = await readSettings(this.#flags, this.outside);
    return { api: new Api(new Client(settings, this.outside.fetch)) };
  }

  /** As `connect`, before there is a token to connect with. */
  wayIn(): Promise<WayIn> {
    return readWayIn(this.#flags, this.outside);
  }

  /** Where `belay login` keeps a token. */
  get keptToken(): string {
    return keptTokenFile(this.outside);
  }

  /** Answers with a value: as JSON with --json, else as the lines made of it. */
  answer<T>(value: T, lines: (value: T) => readonly string[]): void {
    if (this.json) this.printJson(value);
    else this.print(lines(value));
  }

  print(lines: readonly string[]): void {
    if (lines.length > 0) this.outside.out.write(`${lines.map(safeLine).join("\n")}\n`);
  }

  printJson(value: unknown): void {
    this.outside.out.write(`${JSON.stringify(value, null, 2)}\n`);
  }

  /** One value a line, for what comes bit by bit. */
  printJsonLine(value: unknown): void {
    this.outside.out.write(`${JSON.stringify(value)}\n`);
  }

  /** A remark beside the answer: on stderr, and not with --json, where a program reads. */
  remark(text: string): void {
    if (!this.json) this.outside.err.write(`${safeLine(text)}\n`);
  }
}
