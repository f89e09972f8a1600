import { createHash } from "node:crypto";
import {
  existsSync,
  lstatSync,
  mkdirSync,
  readdirSync,
  readFileSync,
  readlinkSync,
  rmSync,
  writeFileSync,
} from "node:fs";
import { basename, join } from "node:path";
import { systemExec, unmanage } from "@belay/agent";
import type { Entry, OpOf } from "@belay/shared";
import { layOut, type Mode, type World } from "../../agent/support/world.js";

const PROGRAMS = ["svc", "ctl"];
const MANIFEST = ".belay-manifest.json";
const UNMANAGE_MS = 60_000;

/**
 * A world whose service was installed without Belay: plain files in a folder of names. After each swap it is as it was again, but
 * for its version, so that the next swap adopts it again.
 */
export class ByName {
  readonly entry: Entry;
  readonly #world: World;
  readonly #bin: string;
  /** What each program of each version is: digest and mode. */
  readonly #whole = new Map<string, string>();

  constructor(world: World) {
    this.#world = world;
    this.#bin = join(world.dir, "names");
    this.entry = { dir: this.#bin, programs: [...PROGRAMS, "absent"], below: "" };
  }

  /** `old` is installed, `fresh` is there to swap to. */
  layOut(old: string, fresh: string, mode: Mode): void {
    const world = this.#world;
    world.program = join(this.#bin, "svc");
    this.#install(this.#bin, old, "ok");
    this.#install(join(world.versionsDir, fresh), fresh, mode);
  }

  /** One file a program: nothing beside it says what it is. */
  #install(dir: string, version: string, mode: Mode): void {
    const made = join(this.#world.dir, "made");
    layOut(made, version, mode, {});
    const asking = 'JSON.parse(readFileSync(join(here, "VERSION"), "utf8"))';
    const program = readFileSync(join(made, "svc"), "utf8").replace(asking, JSON.stringify({ version, mode }));
    mkdirSync(dir);
    writeFileSync(join(dir, "svc"), program, { mode: 0o755 });
    writeFileSync(join(dir, "ctl"), `#!/bin/sh\necho ctl v${version}\n`, { mode: 0o755 });
    for (const each of PROGRAMS) this.#whole.set(`${version}/${each}`, look(join(dir, each)));
    rmSync(made, { recursive: true });
  }

  /** What is wrong while a swap is open, or, with `settled`, after one. */
  ailments({ from, to }: OpOf<"swap">, settled: "done" | "reverted" | null): string[] {
    const { link, stateDir, versionsDir } = this.#world;
    const wrong: string[] = [];
    let led = 0;
    for (const program of PROGRAMS) {
      const name = join(this.#bin, program);
      if (!existsSync(name)) {
        wrong.push(`${name} leads to nothing`);
        continue;
      }
      const isLink = lstatSync(name).isSymbolicLink();
      if (isLink) led += 1;
      if (isLink && readlinkSync(name) !== join(link, program)) wrong.push(`${name} leads to ${readlinkSync(name)}`);
      const version = isLink ? basename(readlinkSync(link)) : from;
      const real = isLink ? join(versionsDir, version, program) : name;
      if (look(real) !== this.#whole.get(`${version}/${program}`))
        wrong.push(`${name} is no whole program of ${version}`);
      if (settled !== null && isLink !== (settled === "done")) wrong.push(`${name} is ${isLink ? "a link" : "a file"}`);
    }
    const record = join(stateDir, "adopted", "svc.json");
    if (led > 0 && !existsSync(record)) wrong.push("names lead through the link, and no record says so");
    if (settled === null) return wrong;
    wrong.push(
      ...strangersIn(this.#bin, PROGRAMS),
      ...strangersIn(versionsDir, settled === "done" ? [from, to] : [to]),
    );
    if (settled === "done") return wrong;
    if (existsSync(record)) wrong.push("the record of the adoption stays");
    if (lstatSync(link, { throwIfNoEntry: false })) wrong.push("the link stays");
    return wrong;
  }

  /** The installed version is plain files again, and has no folder. */
  async forget(installed: string): Promise<void> {
    const { stateDir, versionsDir } = this.#world;
    await unmanage("svc", { stateDir, exec: systemExec, signal: AbortSignal.timeout(UNMANAGE_MS) });
    rmSync(join(versionsDir, installed), { recursive: true });
  }

  /** All that an adoption, and its undoing, writes. */
  paths(): string[] {
    const { stateDir, versionsDir } = this.#world;
    const adopted = join(stateDir, "adopted");
    const paths = [this.#bin, versionsDir, adopted, join(adopted, "svc.json"), join(adopted, ".svc.json.belay-new")];
    for (const program of PROGRAMS) {
      for (const name of [program, `.${program}.belay-new`, `.${program}.belay-was`]) paths.push(join(this.#bin, name));
    }
    for (const version of ["5.0.0", "6.0.0"]) {
      for (const folder of [version, `.belay-${version}.unpacking`, `.belay-${version}.removing`]) {
        const dir = join(versionsDir, folder);
        paths.push(dir, ...[...PROGRAMS, MANIFEST, `.${MANIFEST}.belay-new`].map((name) => join(dir, name)));
      }
    }
    return paths;
  }
}

function look(file: string): string {
  const { mode, uid, gid } = lstatSync(file);
  return `${createHash("sha256").update(readFileSync(file)).digest("hex")} ${mode} ${uid}:${gid}`;
}

function strangersIn(dir: string, known: readonly string[]): string[] {
  return readdirSync(dir)
    .filter((name) => !known.includes(name))
    .map((name) => `${name} stays in ${dir}`);
}
