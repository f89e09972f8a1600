import { execFileSync, spawnSync } from "node:child_process";
import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import t from "tap";
import { belay } from "./belay.js";

const dir = mkdtempSync(join(tmpdir(), "belay-completion-"));
t.teardown(() => rmSync(dir, { recursive: true }));

async function scriptFor(shell: string): Promise<string> {
  const { code, out, err } = await belay(["completion", shell], null);
  if (code !== 0) throw new Error(err);
  const file = join(dir, `completion.${shell}`);
  writeFileSync(file, out);
  return file;
}

/** What each line is completed with, its last word being the one that is typed. */
const LINES: readonly [line: string, answer: string][] = [
  ["belay run st", "start"],
  ["belay run start --exit-at-g", "--exit-at-gate"],
  ["belay run rollback --scope ", "hop run stage"],
  // The value of an option is no command, also when it reads like one.
  ["belay --server run plan l", "lint list"],
  ["belay agent token ", "create list revoke"],
  [
    "belay nonsense ",
    "agent audit backup ca fleet gate host log login logout plan release run status token user whoami why",
  ],
];

t.test("bash", async (t) => {
  const file = await scriptFor("bash");
  execFileSync("bash", ["-n", file]);
  for (const [line, answer] of LINES) t.equal(askBash(file, line), answer, line);
  t.match(askBash(file, `belay plan lint --fleet ${dir}/compl`), /completion\.bash/, "files, where a file is wanted");
});

function missing(shell: string): string | false {
  return spawnSync(shell, ["--version"]).error === undefined ? false : `there is no ${shell} here`;
}

function askBash(file: string, line: string): string {
  const ask = `source "$1"; shift; COMP_WORDS=("$@"); COMP_CWORD=$(($# - 1)); _belay; printf "%s\\n" "\${COMPREPLY[@]}"`;
  const out = execFileSync("bash", ["--norc", "-c", ask, "bash", file, ...line.split(" ")], {
    stdio: ["ignore", "pipe", "ignore"],
  });
  return sorted(out.toString());
}

t.test("fish", { skip: missing("fish") }, async (t) => {
  const file = await scriptFor("fish");
  execFileSync("fish", ["-n", file]);
  for (const [line, answer] of LINES) {
    const out = execFileSync("fish", [
      "--no-config",
      "-c",
      'source $argv[1]; complete -C "$argv[2]"',
      file,
      line,
    ]).toString();
    t.equal(sorted(out.replace(/\t.*$/gm, "")), answer, line);
  }
});

t.test("zsh reads its script", { skip: missing("zsh") }, async (t) => {
  t.equal(spawnSync("zsh", ["-n", await scriptFor("zsh")]).status, 0);
});

t.test("a shell that has no script is said to be one", async (t) => {
  const { code, err } = await belay(["completion", "tcsh"], null);
  t.equal(code, 1);
  t.match(err, /bash, zsh, fish/);
});

function sorted(lines: string): string {
  return lines.trim().split("\n").sort().join(" ");
}
