import { lstat, readlink, realpath } from "node:fs/promises";
import { dirname, join, relative, resolve, sep } from "node:path";
import { type Entry, parseVersion } from "@belay/shared";
import { orMissing } from "../durable.js";

/** What stands under one of the entry's names. */
export type Standing =
  | { program: string; kind: "absent" }
  /** Leads through the one link, as it should. */
  | { program: string; kind: "led" }
  | { program: string; kind: "file" }
  /** Leads straight into the folder of a version. `target` is what the link itself says. */
  | { program: string; kind: "link"; target: string; version: string }
  /** Something that Belay doesn't touch. */
  | { program: string; kind: "foreign"; what: string };

export interface Layout {
  entry: Entry;
  link: string;
  versionsDir: string;
}

/** Where a program lies in a version's folder, or behind the link. */
export function programIn(dir: string, { below }: Entry, program: string): string {
  return join(dir, below, program);
}

/** Looks at every name of the entry, changes nothing. */
export function lookAt(layout: Layout): Promise<Standing[]> {
  return Promise.all(layout.entry.programs.map((program) => standingOf(program, layout)));
}

async function standingOf(program: string, { entry, link, versionsDir }: Layout): Promise<Standing> {
  const name = join(entry.dir, program);
  const stat = await orMissing(lstat(name));
  if (stat === null) return { program, kind: "absent" };
  if (stat.isFile()) return { program, kind: "file" };
  if (!stat.isSymbolicLink()) return { program, kind: "foreign", what: "is neither a file nor a link" };
  const target = await readlink(name);
  if (resolve(dirname(name), target) === programIn(link, entry, program)) return { program, kind: "led" };
  const real = await orMissing(realpath(name));
  const root = await orMissing(realpath(versionsDir));
  if (real !== null && root !== null && real.startsWith(root + sep)) {
    const [version, ...rest] = relative(root, real).split(sep) as [string, ...string[]];
    if (parseVersion(version) === version && join(...rest) === join(entry.below, program)) {
      return { program, kind: "link", target, version };
    }
  }
  return { program, kind: "foreign", what: `is a link to ${target}` };
}
