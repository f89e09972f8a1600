import { execFileSync, spawnSync } from "node:child_process";
import { readFileSync, writeFileSync } from "node:fs";

/** Why copies can't be encrypted here, for `skip`; false: they can. */
export const noAge =
  ["age", "age-keygen"].some((program) => spawnSync("sh", ["-c", `command -v ${program}`]).status !== 0) &&
  "no age here: apt-get install age";

/** Every file below a folder, as one text: to look for what must not be there. */
export function everythingIn(dir: string): string {
  return execFileSync("find", [dir, "-type", "f", "-exec", "cat", "{}", "+"], {
    encoding: "latin1",
    maxBuffer: 1 << 30,
  });
}

export function flipByte(path: string, at: number): void {
  const bytes = readFileSync(path);
  bytes[at] = (bytes[at] ?? 0) ^ 1;
  writeFileSync(path, bytes);
}
