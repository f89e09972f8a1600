import { execFileSync } from "node:child_process";
import { writeFileSync } from "node:fs";
import { MAX_FENCE, type Op, type Outcome, type Step } from "@belay/shared";
import t, { type Test } from "tap";
import { AGENT_BIN, World } from "./support/world.js";

/** It only ends what hangs. */
t.setTimeout(120_000);

/** Of a service that is stopped: nothing comes of it, but it is no mere look. */
const STOP: Op = { kind: "stop", service: "svc", timeoutMs: 3_000 };
const [ONE, OTHER] = ["1111111111111111", "2222222222222222"];
let steps = 0;

async function agent(t: Test): Promise<World> {
  const world = await World.make(t);
  await world.start();
  return world;
}

async function ask(world: World, fence: number, line?: string, op = STOP): Promise<Outcome> {
  steps += 1;
  const step: Step = {
    type: "step",
    step: `run/stage/host-1/${steps}`,
    fence,
    check: false,
    deadlineMs: 10_000,
    op,
    ...(line === undefined ? {} : { line }),
  };
  (await world.controller.connected()).send(JSON.stringify(step));
  return (await world.controller.outcome(step.step)).outcome;
}

function codeOf(outcome: Outcome): string {
  return outcome.status === "done" ? "done" : outcome.error.code;
}

t.test("I13: an agent takes nothing under a lower number, nor under the same number of another belayd", async (t) => {
  const world = await agent(t);
  t.equal(codeOf(await ask(world, 7, ONE)), "done");
  t.equal(codeOf(await ask(world, 6, ONE)), "fenced");
  t.equal(codeOf(await ask(world, 7, OTHER)), "fenced", "two databases that grew apart");
  t.equal(codeOf(await ask(world, 7, ONE)), "done");
  t.equal(codeOf(await ask(world, 7)), "done", "a belayd that does not say whose it is");
  t.equal(codeOf(await ask(world, 7, OTHER)), "fenced", "which takes nothing back");
  t.equal(codeOf(await ask(world, 8, OTHER)), "done");
  t.equal(codeOf(await ask(world, 8, ONE)), "fenced");
});

t.test("I13: who is believed fences with a look as with anything else", async (t) => {
  const world = await agent(t);
  t.equal(codeOf(await ask(world, 7, ONE)), "done");
  t.equal(codeOf(await ask(world, 9, OTHER, { kind: "noop" })), "done");
  t.equal(codeOf(await ask(world, 6, ONE, { kind: "noop" })), "fenced");
  t.equal(codeOf(await ask(world, 7, ONE)), "fenced");
  t.equal(codeOf(await ask(world, 9, OTHER)), "done");
});

t.test("a number beyond all that belayd gives out fences nobody, and an owner can have one forgotten", async (t) => {
  const world = await agent(t);
  t.equal(codeOf(await ask(world, MAX_FENCE + 1, ONE)), "fenced");
  t.equal(codeOf(await ask(world, 7, ONE)), "done");
  t.equal(codeOf(await ask(world, MAX_FENCE, OTHER)), "done");
  await world.stop();
  writeFileSync(world.configFile, world.config());
  execFileSync(process.execPath, [AGENT_BIN, "forget-lease", "--config", world.configFile], { encoding: "utf8" });
  await world.start();
  t.equal(codeOf(await ask(world, 7, ONE)), "done");
  t.equal(codeOf(await ask(world, 6, ONE)), "fenced");
});

t.test(
  "I13: an agent knows the number and whose it was after a restart, and says so with its first word",
  async (t) => {
    const world = await agent(t);
    t.notOk(world.controller.all("hello")[0]?.lease, "nothing yet");
    await ask(world, 9, ONE);
    await world.stop();
    await world.start();
    const hello = await world.controller.until(() => world.controller.all("hello")[1]);
    t.same(hello.lease, { fence: 9, line: ONE });
    t.equal(codeOf(await ask(world, 8, ONE)), "fenced");
    t.equal(codeOf(await ask(world, 9, OTHER)), "fenced");
  },
);

t.test(
  "I13: nor does it forget when its journal is compacted, whatever was refused meanwhile",
  { timeout: 120_000 },
  async (t) => {
    const world = await agent(t);
    await ask(world, 40, ONE);
    await ask(world, 41, OTHER);
    // More acknowledged steps than a journal keeps.
    for (let round = 0; round < 16; round += 1) {
      await Promise.all(Array.from({ length: 60 }, () => ask(world, 41, OTHER, { kind: "noop" })));
      await Promise.all(Array.from({ length: 40 }, () => ask(world, 41, OTHER, { kind: "noop" })));
      await ask(world, 12, ONE, { kind: "noop" });
    }
    await world.stop();
    await world.start();
    t.equal(codeOf(await ask(world, 40, ONE)), "fenced");
    t.equal(codeOf(await ask(world, 41, ONE)), "fenced");
    t.equal(codeOf(await ask(world, 41, OTHER)), "done");
  },
);
