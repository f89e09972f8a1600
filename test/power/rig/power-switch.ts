import { type ChildProcess, execFileSync, spawn } from "node:child_process";
import { once } from "node:events";
import { closeSync, openSync, readSync, writeSync } from "node:fs";
import { join } from "node:path";
import { fileURLToPath } from "node:url";

const SOURCE = fileURLToPath(new URL("./power.c", import.meta.url));

/** Asks power.c, and waits for its answer with the whole process standing still: nothing of it goes on during a cut. */
export class PowerSwitch {
  readonly #child: ChildProcess;
  readonly #ask: number;
  readonly #answer: number;

  private constructor(child: ChildProcess, ask: number, answer: number) {
    this.#child = child;
    this.#ask = ask;
    this.#answer = answer;
  }

  /** Compiles it into `dir` and starts it. */
  static make(dir: string): PowerSwitch {
    const program = join(dir, "power");
    const [ask, answer] = [join(dir, "ask"), join(dir, "answer")];
    execFileSync("gcc", ["-O1", "-Wall", "-Werror", "-o", program, SOURCE]);
    execFileSync("mkfifo", [ask, answer]);
    // Opened for both first, so that neither end waits for the other; then each end by itself, so that the program sees
    // the end of its input when this process is gone, however it went.
    const both = [openSync(ask, "r+"), openSync(answer, "r+")];
    const theirs = [openSync(ask, "r"), openSync(answer, "w")] as const;
    const child = spawn(program, [], { stdio: [theirs[0], theirs[1], "inherit"] });
    const power = new PowerSwitch(child, openSync(ask, "w"), openSync(answer, "r"));
    for (const fd of [...both, ...theirs]) closeSync(fd);
    return power;
  }

  /** The loop device that now stands for an image. */
  attach(image: string): string {
    return this.#say(`attach ${image}`).split(" ")[1] ?? "";
  }

  /** The image isn't in use any more, and nothing of it in memory, once this returns. */
  detach(device: string): void {
    this.#say(`detach ${device}`);
  }

  mount(device: string, dir: string, fs: string, options: string): void {
    this.#say(`mount ${device} ${dir} ${fs} ${options === "" ? "-" : options}`);
  }

  unmount(dir: string): void {
    this.#say(`unmount ${dir}`);
  }

  /** Up to three file systems, shut down in this order. */
  cut(dirs: readonly string[]): void {
    this.#say(`cut ${dirs.join(" ")}`);
  }

  /** An extended attribute, its value in hex. */
  give(file: string, name: string, hex: string): void {
    this.#say(`give ${file} ${name} ${hex}`);
  }

  /** All extended attributes of a file, each as `name=hex`. */
  given(file: string): string[] {
    return this.#say(`given ${file}`).split(" ").slice(1).sort();
  }

  async end(): Promise<void> {
    this.#child.kill();
    await once(this.#child, "exit");
    closeSync(this.#ask);
    closeSync(this.#answer);
  }

  #say(command: string): string {
    writeSync(this.#ask, `${command}\n`);
    const buffer = Buffer.alloc(4096);
    const answer = buffer.toString("utf8", 0, readSync(this.#answer, buffer)).trim();
    if (!answer.startsWith("ok")) throw new Error(`${command}: ${answer}`);
    return answer;
  }
}
