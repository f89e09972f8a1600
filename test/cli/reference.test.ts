import { readFile, writeFile } from "node:fs/promises";
import type { GroupSpec } from "@belay/controller/cli/command";
import { GROUPS, SINGLES } from "@belay/controller/cli/commands/index";
import type { Outside } from "@belay/controller/cli/outside";
import { makeProgram } from "@belay/controller/cli/program";
import { cliReference } from "@belay/controller/cli/reference";
import * as unblock from "@belay/controller/run/unblock";
import type { Command } from "commander";
import t from "tap";
import { belay, sink } from "./belay.js";
import { RUN } from "./samples.js";

const DOCS = new URL("../../docs/cli.md", import.meta.url);

t.test("docs/cli.md says what the commands say", async (t) => {
  if (process.env.UPDATE_DOCS === "1") await writeFile(DOCS, cliReference());
  t.equal(await readFile(DOCS, "utf8"), cliReference(), "UPDATE_DOCS=1 npx tap run test/cli/reference.test.ts");
});

t.test("every command has help with examples, and every example is a command line that can be read", async (t) => {
  for (const { path, examples } of everyCommand()) {
    const help = await belay([...path, "--help"], null);
    t.equal(help.code, 0, path.join(" "));
    for (const example of examples) {
      t.ok(help.out.includes(`  $ ${example}\n`), example);
      t.ok(example.startsWith(`belay ${path.join(" ")}`), example);
      t.equal(await complaint(example), null, example);
    }
  }
});

t.test("the commands that belayd tells people to type can be typed", async (t) => {
  const told = [
    unblock.approve(RUN, "hop-1.main.auth", false),
    unblock.approve(RUN, "hop-1.main.auth", true),
    unblock.answerFailure(RUN),
    unblock.abort(RUN),
    unblock.rollBackBare(RUN, RUN, "hop"),
    unblock.rollBackAnew(RUN, RUN, "run"),
    unblock.restoreOther(RUN, "node-2"),
    unblock.restoreBare(RUN, "node-2", "run.hop-1.node-2"),
    unblock.resume(RUN),
    unblock.watch(RUN),
    unblock.bringBack("node-2"),
    unblock.show(RUN),
  ].flatMap((text) => text.match(/belay (?:run|gate|host|why|backup) [^;,()]+/g) ?? []);
  t.ok(told.length >= 15);
  for (const text of told) {
    // Prose goes on behind some of them.
    const line = text.replace(/ (?:follows it|tells what happened|says .*)$/, "").trim();
    t.equal(await complaint(line), null, line);
  }
});

function everyCommand(): { path: string[]; examples: readonly string[] }[] {
  const ofGroup = (group: GroupSpec, above: readonly string[]): { path: string[]; examples: readonly string[] }[] => {
    const path = [...above, group.name];
    return [
      ...(group.own === undefined ? [] : [{ path, examples: group.own.examples }]),
      ...group.commands.map(({ name, examples }) => ({ path: [...path, name.split(" ")[0] ?? ""], examples })),
      ...(group.groups ?? []).flatMap((inner) => ofGroup(inner, path)),
    ];
  };
  const singles = SINGLES.map(({ name, examples }) => ({ path: [name.split(" ")[0] ?? ""], examples }));
  return [...GROUPS.flatMap((group) => ofGroup(group, [])), ...singles];
}

/** What commander says against a command line, or null. Nothing is carried out. */
async function complaint(line: string): Promise<string | null> {
  const words = line.match(/"[^"]*"|\S+/g)?.map((word) => word.replace(/^"(.*)"$/, "$1")) ?? [];
  const program = makeProgram("0", { outside: { out: sink(), err: sink() } as unknown as Outside, end: () => {} });
  disarm(program);
  // A shell would have taken the redirection away.
  const args = words.slice(1);
  const redirected = args.indexOf(">");
  try {
    await program.parseAsync(redirected < 0 ? args : args.slice(0, redirected), { from: "user" });
    return null;
  } catch (error) {
    return (error as Error).message;
  }
}

function disarm(command: Command): void {
  if (command.commands.length === 0 || command.name() === "plan") command.action(() => {});
  for (const child of command.commands) disarm(child);
}
