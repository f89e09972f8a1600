import { execFileSync } from "node:child_process";
import type { ServerResponse } from "node:http";
import { join } from "node:path";
import type { RunView } from "@belay/controller/api/contract";
import { planUpgrade } from "@belay/controller/plan/planner";
import t, { type Test } from "tap";
import { inputFor } from "../support/fleets.js";
import { belay, sink } from "./belay.js";
import { type Asked, FakeBelayd, refuse, send } from "./belayd.js";
import { endedRun, failureGate, gate, gatedRun, RUN, recap, workingRun } from "./samples.js";

/** A run that stands at its gate until somebody answers, and then goes on to its end. */
async function gatedBelayd(t: Test, at: RunView, route: string): Promise<FakeBelayd> {
  let goOn: () => void = () => {};
  const answered = new Promise<void>((resolve) => {
    goOn = resolve;
  });
  const peer = await FakeBelayd.start({
    "GET /v1/runs/latest": { ...at },
    [`GET /v1/runs/${RUN}/recap`]: { ...recap() },
    [`GET /v1/runs/${RUN}/stream`]: async (_asked: Asked, response: ServerResponse) => {
      response.writeHead(200, { "content-type": "text/event-stream" });
      await answered;
      for (const view of [workingRun(), endedRun()]) response.write(`event: view\ndata: ${JSON.stringify(view)}\n\n`);
      response.end();
    },
    [route]: (_asked: Asked, response: ServerResponse) => {
      send(response, 200, gate());
      goOn();
    },
  });
  t.teardown(() => peer.stop());
  return peer;
}

/** A person at a terminal who says these things, one after the other, and then nothing more. */
function person(answers: readonly string[]) {
  const asked: string[] = [];
  const left = [...answers];
  const out = sink(true);
  return {
    asked,
    out,
    outside: {
      out,
      canAsk: true,
      ask: (question: string, signal: AbortSignal) => {
        asked.push(question);
        const answer = left.shift();
        if (answer !== undefined) return Promise.resolve(answer);
        return new Promise<null>((resolve) => signal.addEventListener("abort", () => resolve(null)));
      },
    },
  };
}

t.test("a gate is answered right where it is shown", async (t) => {
  const route = `POST /v1/gates/${RUN}/hop-1.main.auth/approve`;
  const peer = await gatedBelayd(t, gatedRun(), route);
  const ann = person(["what?", "A", "looks good"]);
  const { code } = await belay(["run", "watch", "--prompt"], peer, {}, ann.outside);
  t.equal(code, 0);
  const question = "[a]pprove, [r]eject or [w]ait? ";
  t.same(ann.asked, [question, question, "reason: "], "what is no answer is asked again");
  t.same(peer.askedOf(route)[0]?.body, { reason: "looks good" });
  t.match(ann.out.text, "POINT OF NO RETURN");
});

t.test("where approvals are signed, what is signed is shown, and asked for once more", async (t) => {
  const fleet =
    "fleet: acme\npolicy: { approvals: signed }\nclusters: [{ name: main, hosts: [{ name: a, roles: [auth] }] }]";
  const planned = planUpgrade(inputFor(fleet, "6.2.31"));
  if (!planned.ok) throw new Error("no plan");
  const { plan } = planned;
  const route = `POST /v1/gates/${RUN}/hop-1.main.auth/approve`;
  const at = gatedRun({ id: RUN, plan: plan.id, gate: gate({ mustSign: true }) });
  const peer = await gatedBelayd(t, at, route);
  peer.on(`GET /v1/runs/${RUN}`, { ...at });
  peer.on(`GET /v1/plans/${plan.id}`, { ...plan });
  const key = join(t.testdir(), "key");
  execFileSync("ssh-keygen", ["-q", "-t", "ed25519", "-N", "", "-f", key]);
  const ann = person(["a", "looks good", "y"]);
  await belay(["run", "watch", "--prompt"], peer, { BELAY_SIGNING_KEY: key }, ann.outside);
  t.equal(ann.asked.at(-1), "Sign this? [y/N] ");
  t.match(ann.out.text, `You are about to sign gate hop-1.main.auth of run ${RUN}`);
  t.match(peer.askedOf(route)[0]?.body, { reason: "looks good", signed: { statement: /"decision":"approve"/ } });
});

t.test("at a failure gate there are other ways on", async (t) => {
  const route = `POST /v1/runs/${RUN}/skip`;
  const peer = await gatedBelayd(t, gatedRun({ gate: failureGate() }), route);
  const ann = person(["s", "rebuild"]);
  await belay(["run", "watch", "--prompt"], peer, {}, ann.outside);
  t.same(ann.asked, ["[r]etry, [s]kip, [a]bort or [w]ait? ", "reason: "]);
  t.same(peer.askedOf(route)[0]?.body, { reason: "rebuild" });
});

t.test("the question is withdrawn when somebody else answers", async (t) => {
  const peer = await gatedBelayd(t, gatedRun(), "POST /v1/else");
  const ann = person([]);
  const watch = belay(["run", "watch", "--prompt"], peer, {}, ann.outside);
  while (ann.asked.length === 0) await new Promise((resolve) => setImmediate(resolve));
  await fetch(`${peer.url}/v1/else`, {
    method: "POST",
    headers: { authorization: "Bearer a-token-for-tests-0123456789" },
  });
  t.equal((await watch).code, 0);
  t.equal(ann.asked.length, 1);
});

t.test("what belayd refuses is said, and nobody is asked the same again", async (t) => {
  const route = `POST /v1/gates/${RUN}/hop-1.main.auth/approve`;
  const peer = await gatedBelayd(t, gatedRun(), "POST /v1/else");
  peer.on(route, (_asked, response) => {
    refuse(response, 400, { code: "already-decided", message: "ann has approved already" });
    void fetch(`${peer.url}/v1/else`, {
      method: "POST",
      headers: { authorization: "Bearer a-token-for-tests-0123456789" },
    });
  });
  const ann = person(["a", ""]);
  t.equal((await belay(["run", "watch", "--prompt"], peer, {}, ann.outside)).code, 0);
  t.match(ann.out.text, "error[already-decided]: ann has approved already");
  t.equal(ann.asked.length, 2);
});

t.test("--prompt needs a person at a terminal", async (t) => {
  const peer = await gatedBelayd(t, gatedRun(), "POST /v1/else");
  const { code, err } = await belay(["run", "watch", "--prompt"], peer);
  t.equal(code, 1);
  t.match(err, "error[prompt-needs-terminal]");
});

t.test("a rollback is shown, and started only when somebody says so", async (t) => {
  const blocked = {
    ok: false,
    to: "5.4.2",
    blocked: [{ code: "backup-missing", subject: "auth-1", message: "no backup" }],
    risks: [],
  };
  const peer = await FakeBelayd.start({
    "GET /v1/runs/latest": { ...workingRun() },
    [`POST /v1/runs/${RUN}/rollback`]: { plan: blocked, run: null },
  });
  t.teardown(() => peer.stop());
  const ran = await belay(["run", "rollback", "--scope", "hop"], peer);
  t.equal(ran.code, 1);
  t.match(ran.out, "backup-missing");
  await belay(["run", "rollback", "--no-safety-backup"], peer);
  t.same(
    peer.askedOf(`POST /v1/runs/${RUN}/rollback`).map(({ body }) => body),
    [
      { scope: "hop", safetyBackup: true, planOnly: true },
      { scope: "run", safetyBackup: false, planOnly: true },
    ],
  );
});
