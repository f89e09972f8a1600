import { readdir, readFile } from "node:fs/promises";
import { join } from "node:path";
import { run } from "./run.js";
import type { Edition } from "./source.js";
import { Tree } from "./tree.js";

/** What Debian is told of a package, beside its files. */
export interface Debian {
  name: string;
  /** The folder with `control`, and the maintainer scripts and `conffiles` that there are. */
  dir: string;
  edition: Edition;
}

const SCRIPTS = ["preinst", "postinst", "prerm", "postrm"];

/** Builds the package of `tree` into `out` and returns its path. The same tree makes the same bytes. */
export async function buildDeb(tree: Tree, { name, dir, edition }: Debian, out: string): Promise<string> {
  const filled = (text: string) => fill(text, { VERSION: edition.version, DEBIAN_VERSION: edition.debianVersion });
  const md5sums = await tree.md5sums();
  const control = filled(await readFile(join(dir, "control"), "utf8"));
  const size = `Installed-Size: ${await tree.installedKib()}\n`;
  const info = new Tree(join(tree.root, "DEBIAN"));
  await info.file("control", control.replace(/^Description:/m, `${size}$&`));
  await info.file("md5sums", md5sums);
  const there = await readdir(dir);
  if (there.includes("conffiles")) await info.copy("conffiles", join(dir, "conffiles"));
  for (const script of SCRIPTS.filter((each) => there.includes(each))) {
    await info.file(script, filled(await readFile(join(dir, script), "utf8")), 0o755);
  }
  await tree.date(edition.epochSeconds);
  const file = join(out, `${name}_${edition.debianVersion}_amd64.deb`);
  // One thread and a low level: several threads make other bytes than one, and a high level costs half a minute a package.
  run("dpkg-deb", ["--root-owner-group", "-Zxz", "-z1", "--threads-max=1", "--build", tree.root, file], {
    env: { SOURCE_DATE_EPOCH: String(edition.epochSeconds) },
  });
  return file;
}

/** Replaces each @NAME@. Throws on one that has no value: it would reach a host as it is. */
export function fill(text: string, values: Readonly<Record<string, string>>): string {
  return text.replace(/@([A-Z_]+)@/g, (_, name: string) => {
    const value = values[name];
    if (value === undefined) throw new Error(`there is no value for @${name}@`);
    return value;
  });
}
