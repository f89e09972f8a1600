import {
  chmodSync,
  chownSync,
  existsSync,
  lstatSync,
  mkdirSync,
  readdirSync,
  readFileSync,
  readlinkSync,
  utimesSync,
} from "node:fs";
import { basename, join } from "node:path";
import { type Exec, systemExec } from "@belay/agent";
import type { Entry, Op } from "@belay/shared";
import type { PowerSwitch } from "./power-switch.js";
import { digestOf, installByHand, type Release, releaseOf } from "./releases.js";

/** A name of the entry that this host doesn't have, and must never get. */
const ABSENT = "absent";
/** What the host's owner gave to each program, and what must stay with it whatever version it is. */
const GIVEN: Record<string, { uid: number; gid: number; mode: number; xattrs: Record<string, string> }> = {
  // cap_net_bind_service, permitted and effective.
  svc: { uid: 0, gid: 33, mode: 0o751, xattrs: { "security.capability": `0100000200040000${"00".repeat(12)}` } },
  tool: { uid: 1234, gid: 4321, mode: 0o550, xattrs: { "user.note": "6b657074" } },
};
const INSTALLED_AT = new Date("2020-02-20T20:20:20Z");

/** What may be found at a moment. */
interface Known {
  installed: string;
  /** The version that an open swap goes to. */
  to: string | null;
  /** Names are becoming links, or files again. */
  changing: boolean;
}

/**
 * The names by which the service of a host is started that was installed without Belay: plain files, until a swap adopts them
 * and again from when that is undone. At every moment each of them is a whole program of a version that may be there, with all
 * that its owner gave to it.
 */
export class Names {
  readonly entry: Entry;
  /** Those of its names that are there. */
  readonly programs: readonly string[];
  /** What they are, as long as nothing is open that changes it. */
  standing: "files" | "links" = "files";
  #takingOut = false;
  #attempt: Promise<unknown> = Promise.resolve();
  readonly #link: string;
  readonly #versionsDir: string;
  readonly #record: string;
  readonly #power: PowerSwitch;
  readonly #releases: readonly Release[];
  /** Of the files as they are when a swap comes to them, which that version's programs must keep as long as it is open. */
  #times: { readonly version: string; readonly of: ReadonlyMap<string, number> } | null = null;

  constructor(
    at: {
      dir: string;
      programs: readonly string[];
      below: string;
      link: string;
      versionsDir: string;
      stateDir: string;
    },
    world: { power: PowerSwitch; releases: readonly Release[] },
  ) {
    this.programs = at.programs;
    this.entry = { dir: at.dir, programs: [...at.programs, ABSENT], below: at.below };
    this.#link = at.link;
    this.#versionsDir = at.versionsDir;
    this.#record = join(at.stateDir, "adopted", "svc.json");
    this.#power = world.power;
    this.#releases = world.releases;
  }

  layOut(release: Release): void {
    mkdirSync(this.entry.dir, { recursive: true });
    installByHand(release, this.entry.dir, this.programs);
    for (const program of this.programs) {
      const name = join(this.entry.dir, program);
      const { uid, gid, mode, xattrs } = givenTo(program);
      chownSync(name, uid, gid);
      chmodSync(name, mode);
      for (const [xattr, hex] of Object.entries(xattrs)) this.#power.give(name, xattr, hex);
      utimesSync(name, INSTALLED_AT, INSTALLED_AT);
    }
  }

  /** A swap from this version is about to begin. */
  swapBegins(version: string): void {
    const times = this.programs.map((program) => [program, lstatSync(join(this.entry.dir, program)).mtimeMs] as const);
    this.#times = this.standing === "files" ? { version, of: new Map(times) } : null;
  }

  /** The version of what is started by name, by its content. Null: that is none. */
  version(): string | null {
    const name = join(this.entry.dir, "svc");
    // Where it leads nowhere, or is not there.
    if (!existsSync(name)) return null;
    const digest = digestOf(readFileSync(name));
    return this.#releases.find(({ files }) => files.get("svc") === digest)?.version ?? null;
  }

  /** Programs say their version without being started: what they hold is known. */
  exec(): Exec {
    return {
      ...systemExec,
      run: async (argv, options) => {
        if (argv[1] !== "version") return systemExec.run(argv, options);
        return { code: 0, signal: null, stdout: `svc v${this.version()}\n`, stderr: "" };
      },
    };
  }

  /** Null: what is under way changes nothing about what the names are. */
  doing(open: Op | undefined): "unmanage" | "adoption" | null {
    if (this.#takingOut) return "unmanage";
    return open?.kind === "swap" && this.standing === "files" ? "adoption" : null;
  }

  /** All that is wrong, with `installed` installed and this op under way. */
  ailments(installed: string, open: Op | undefined): string[] {
    const { entry, standing } = this;
    const known: Known = { installed, to: open?.kind === "swap" ? open.to : null, changing: this.doing(open) !== null };
    const wrong: string[] = [];
    const led: string[] = [];
    for (const program of this.programs) {
      const name = join(entry.dir, program);
      const stat = lstatSync(name, { throwIfNoEntry: false });
      if (stat?.isSymbolicLink()) {
        led.push(program);
        if (standing === "files" && !known.changing) wrong.push(`${name} is a link`);
        wrong.push(...this.#wrongWithLink(name, program, known));
      } else if (stat?.isFile()) {
        if (standing === "links" && !known.changing) wrong.push(`${name} is a plain file`);
        wrong.push(...this.#wrongWithProgram(name, program, known.installed));
      } else wrong.push(`${name} is ${stat === undefined ? "gone" : "neither a file nor a link"}`);
    }
    if (lstatSync(join(entry.dir, ABSENT), { throwIfNoEntry: false }))
      wrong.push(`${ABSENT} was never there, and is now`);
    if (!known.changing && known.to === null) wrong.push(...this.#leftovers());
    return [...wrong, ...this.#wrongWithTheWayBack(led, known)];
  }

  /** Resolves when nothing of it touches the disks any more: what outlived a boot would be at work on a machine that isn't its own. */
  async letGo(): Promise<void> {
    await this.#attempt;
  }

  /** Does it again after every power cut, as a person would who doesn't know whether it was through. What is wrong, or null. */
  async takeOut(
    unmanage: () => Promise<unknown>,
    power: { boots: () => { count: number; off: boolean }; next: () => Promise<void> },
  ): Promise<string | null> {
    this.#takingOut = true;
    for (let wasCut = false; ; wasCut = true) {
      const before = power.boots();
      const attempt = unmanage().then(
        () => null,
        (thrown: Error & { code?: string }) => thrown,
      );
      this.#attempt = attempt;
      const error = await attempt;
      const { count, off } = power.boots();
      if (off) await power.next();
      if (off || count !== before.count) continue;
      this.#takingOut = false;
      this.standing = "files";
      return error === null || (wasCut && error.code === "not-adopted") ? null : `unmanage throws ${error}`;
    }
  }

  #wrongWithLink(name: string, program: string, known: Known): string[] {
    const leadsTo = readlinkSync(name);
    if (leadsTo !== join(this.#link, this.entry.below, program)) return [`${name} leads to ${leadsTo}`];
    if (lstatSync(this.#link, { throwIfNoEntry: false }) === undefined) return [`${name} leads through no link`];
    const version = basename(readlinkSync(this.#link));
    if (version !== known.installed && version !== known.to) return [`${name} leads to a program of ${version}`];
    return this.#wrongWithProgram(name, program, version);
  }

  /** Whole, and with all that its owner gave it. `path` may be a link to it. */
  #wrongWithProgram(path: string, program: string, version: string): string[] {
    const wrong: string[] = [];
    const { uid, gid, mode, xattrs } = givenTo(program);
    try {
      const file = lstatSync(path).isSymbolicLink() ? join(this.#link, this.entry.below, program) : path;
      const stat = statBehind(file);
      const digest = digestOf(readFileSync(file));
      const release = releaseOf(this.#releases, version);
      if (digest !== release.files.get(program)) wrong.push(`${path} (${stat.size} bytes) is not that of ${version}`);
      const found = [`${stat.uid}:${stat.gid} ${(stat.mode & 0o7777).toString(8)}`];
      const kept = [`${uid}:${gid} ${mode.toString(8)}`];
      if (this.#times?.version === version && this.#times.of.get(program) !== stat.mtimeMs) {
        wrong.push(`${path} of ${version} was given another time`);
      }
      for (const [name, hex] of Object.entries(xattrs).sort()) kept.push(`${name}=${hex}`);
      found.push(...this.#power.given(file));
      if (`${found}` !== `${kept}`) wrong.push(`${path} of ${version} has ${found}, not ${kept}`);
    } catch (error) {
      wrong.push(`${path} of ${version} can't be read: ${error}`);
    }
    return wrong;
  }

  /** Where anything leads through the link, there is a record by which it can be files again. */
  #wrongWithTheWayBack(led: string[], known: Known): string[] {
    const wrong: string[] = [];
    const text = lstatSync(this.#record, { throwIfNoEntry: false }) ? readFileSync(this.#record, "utf8") : null;
    if (text === null && led.length > 0) wrong.push(`${led} lead through the link, and no record says so`);
    if (text !== null) {
      try {
        const { entry, link } = JSON.parse(text);
        if (JSON.stringify(entry) !== JSON.stringify(this.entry) || link !== this.#link) wrong.push(`record: ${text}`);
      } catch {
        wrong.push(`the record is no record: ${text}`);
      }
    }
    if (this.standing === "files" && !known.changing) {
      if (text !== null) wrong.push("the names are files, and a record says that they were adopted");
      if (lstatSync(this.#link, { throwIfNoEntry: false })) wrong.push(`${this.#link} is still there`);
    }
    if (this.standing === "files" && known.to !== null) {
      const dir = join(this.#versionsDir, known.installed, this.entry.below);
      for (const program of led) wrong.push(...this.#wrongWithProgram(join(dir, program), program, known.installed));
    }
    return wrong;
  }

  #leftovers(): string[] {
    const left = readdirSync(this.entry.dir).filter((name) => !this.programs.includes(name));
    return left.length === 0 ? [] : [`${left} stay in ${this.entry.dir}`];
  }
}

function statBehind(file: string) {
  const stat = lstatSync(file);
  if (!stat.isFile()) throw new Error("it is no plain file");
  return stat;
}

function givenTo(program: string) {
  const given = GIVEN[program];
  if (given === undefined) throw new Error(`nothing was given to ${program}`);
  return given;
}
