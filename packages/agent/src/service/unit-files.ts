import { createHash } from "node:crypto";
import { readdir, readFile, realpath, stat } from "node:fs/promises";
import { basename, join } from "node:path";
import { orMissing } from "../durable.js";
import type { Definition } from "./service.js";

/** Where systemd looks for units of the system, first come, first served (systemd.unit(5)). */
const UNIT_FOLDERS = [
  "/etc/systemd/system.control",
  "/run/systemd/system.control",
  "/run/systemd/transient",
  "/run/systemd/generator.early",
  "/etc/systemd/system",
  "/etc/systemd/system.attached",
  "/run/systemd/system",
  "/run/systemd/system.attached",
  "/run/systemd/generator",
  "/usr/local/lib/systemd/system",
  "/usr/lib/systemd/system",
  "/lib/systemd/system",
  "/run/systemd/generator.late",
];

/**
 * How the files on the disk define a unit: its own and its drop-ins, as systemd would find them if it read them now, whatever it has
 * in memory. Null: no file defines it. Looks, changes nothing, and starts no program: two dozen calls. A file that is being replaced
 * meanwhile is read as it was or as it will be. What lies in a version's own folder below `versionsDir` is the version's, whatever it
 * holds: a swap changes it, and the version's digest is known.
 */
export async function definitionOf(
  name: string,
  versionsDir: string,
  folders: readonly string[] = UNIT_FOLDERS,
): Promise<Definition | null> {
  // systemctl, too, takes a name without a suffix for a service's.
  const unit = /\.[a-z]+$/.test(name) ? name : `${name}.service`;
  const shelves = await Promise.all(folders.map(shelfOf));
  const fragment = firstOf(shelves, unit) ?? firstOf(shelves, templateOf(unit));
  if (fragment === null) return null;
  const files = [fragment, ...(await dropInsOf(unit, fragment, shelves))];
  const hash = createHash("sha256");
  // By its own name: /opt may be a link itself.
  const versions = (await orMissing(realpath(versionsDir))) ?? versionsDir;
  let newest = { file: fragment, at: 0 };
  for (const file of files) {
    const { content, at } = await contentOf(file, versions);
    // With their lengths, so that no content can pass for the name of another file.
    hash.update(JSON.stringify([file === fragment ? unit : basename(file), content.length]));
    hash.update(content);
    if (at > newest.at) newest = { file, at };
  }
  return { sha256: hash.digest("hex"), files, newest: newest.file };
}

/** A folder of units, and what lies in it. */
interface Shelf {
  readonly folder: string;
  readonly names: ReadonlySet<string>;
}

async function shelfOf(folder: string): Promise<Shelf> {
  return { folder, names: new Set(await orMissing(readdir(folder))) };
}

function firstOf(shelves: readonly Shelf[], name: string): string | null {
  const shelf = shelves.find(({ names }) => names.has(name));
  return shelf === undefined ? null : join(shelf.folder, name);
}

/** In systemd's order: by their names, of which the first folder's counts. Links as aliases have drop-ins of their own. */
async function dropInsOf(unit: string, fragment: string, shelves: readonly Shelf[]): Promise<string[]> {
  const alias = basename((await orMissing(realpath(fragment))) ?? unit);
  const owners = new Set([unit, alias, templateOf(unit), ...prefixesOf(unit), unit.slice(unit.lastIndexOf(".") + 1)]);
  const found = new Map<string, string>();
  for (const owner of owners) {
    for (const { folder, names } of shelves) {
      if (!names.has(`${owner}.d`)) continue;
      const dir = join(folder, `${owner}.d`);
      for (const file of (await orMissing(readdir(dir))) ?? []) {
        if (file.endsWith(".conf") && !found.has(file)) found.set(file, join(dir, file));
      }
    }
  }
  return [...found].sort(([a], [b]) => (a < b ? -1 : 1)).map(([, file]) => file);
}

/** `a-b-c.service` takes drop-ins of `a-b-.service` and `a-.service`, too. */
function prefixesOf(unit: string): string[] {
  const dot = unit.lastIndexOf(".");
  const prefixes: string[] = [];
  for (let dash = unit.lastIndexOf("-", dot - 2); dash > 0; dash = unit.lastIndexOf("-", dash - 1)) {
    prefixes.push(`${unit.slice(0, dash + 1)}${unit.slice(dot)}`);
  }
  return prefixes;
}

/** `teleport@east.service` is made from `teleport@.service`; any other unit is its own template. */
function templateOf(unit: string): string {
  return unit.replace(/@[^@]*(?=\.[a-z]+$)/, "@");
}

/** Of a masked unit, which is a link to /dev/null, nothing. */
async function contentOf(file: string, versions: string): Promise<{ content: Buffer; at: number }> {
  const what = await orMissing(stat(file));
  if (what?.isFile() !== true) return { content: Buffer.alloc(0), at: 0 };
  const real = await orMissing(realpath(file));
  if (real?.startsWith(`${versions}/`) === true) return { content: Buffer.from("of the version"), at: 0 };
  // The time that nobody can set: packages and copies keep the other.
  return { content: (await orMissing(readFile(file))) ?? Buffer.alloc(0), at: what.ctimeMs };
}
