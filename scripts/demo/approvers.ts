import { execFile } from "node:child_process";
import { mkdir, readFile, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { promisify } from "node:util";

/** Somebody who approves, with an SSH key of their own. */
export interface Approver {
  readonly name: string;
  /** File of the private key. */
  readonly key: string;
}

export interface Approvers {
  readonly people: readonly Approver[];
  /** Whom every host believes: an allowed_signers file. */
  readonly file: string;
}

/** Makes each of them a key, as they would themselves, and the file that hosts and belayd know them by. */
export async function makeApprovers(dir: string, names: readonly string[]): Promise<Approvers> {
  const folder = join(dir, "keys");
  await mkdir(folder, { mode: 0o700 });
  const people = names.map((name) => ({ name, key: join(folder, name) }));
  const lines = await Promise.all(
    people.map(async ({ name, key }) => {
      await promisify(execFile)("ssh-keygen", ["-q", "-t", "ed25519", "-N", "", "-C", name, "-f", key]);
      return `${name} namespaces="belay-gate" ${await readFile(`${key}.pub`, "utf8")}`;
    }),
  );
  const file = join(dir, "approvers");
  await writeFile(file, lines.join(""), { mode: 0o644 });
  return { people, file };
}
