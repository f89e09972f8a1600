import { spawn } from "node:child_process";
import { fileURLToPath } from "node:url";
import { say } from "./screen.js";

const PROGRAM = fileURLToPath(new URL("../../packages/controller/bin/belay.js", import.meta.url));

/** The real `belay`, typed for the person who watches: each command is shown as they would type it. */
export class Belay {
  readonly tokenFile: string;
  readonly #env: NodeJS.ProcessEnv;
  readonly #short: string;

  /** `dir` is left out of what is shown, so that commands stay readable. */
  constructor(server: string, tokenFile: string, dir: string, more: NodeJS.ProcessEnv = {}) {
    this.tokenFile = tokenFile;
    this.#short = `${dir}/`;
    this.#env = { ...process.env, BELAY_SERVER: server, BELAY_TOKEN_FILE: tokenFile, ...more };
  }

  /** Runs a command, shows it and what it prints; answers what it printed. Throws on another exit code than 0 or these. */
  async show(args: readonly string[], alsoFine: readonly number[] = []): Promise<string> {
    this.#echo(args);
    const { code, output, errors } = await this.quiet(args);
    process.stdout.write(output.replace(/^(?=.)/gm, "  "));
    if (code !== 0 && !alsoFine.includes(code))
      throw new Error(`belay ${args.join(" ")} exited with ${code}:\n${errors}`);
    return output;
  }

  /** Runs a command on this very terminal; answers its exit code. */
  live(args: readonly string[]): Promise<number> {
    this.#echo(args);
    const child = spawn(process.execPath, [PROGRAM, ...args], { stdio: "inherit", env: this.#env });
    return new Promise((resolve) => child.once("close", (code) => resolve(code ?? 1)));
  }

  quiet(args: readonly string[]): Promise<{ code: number; output: string; errors: string }> {
    const child = spawn(process.execPath, [PROGRAM, ...args], { stdio: ["ignore", "pipe", "pipe"], env: this.#env });
    let output = "";
    let errors = "";
    child.stdout.setEncoding("utf8").on("data", (text: string) => {
      output += text;
    });
    child.stderr.setEncoding("utf8").on("data", (text: string) => {
      errors += text;
    });
    return new Promise((resolve) => child.once("close", (code) => resolve({ code: code ?? 1, output, errors })));
  }

  #echo(args: readonly string[]): void {
    say(`$ belay ${args.map((arg) => arg.replace(this.#short, "")).join(" ")}`);
  }
}
