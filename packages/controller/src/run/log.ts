import type { HookRun, StepId } from "@belay/shared";
import type { LogLine } from "../api/contract.js";
import type { Plan } from "../plan/plan.js";
import type { EventOf, RunEvent } from "./event.js";
import { STOP_BATCH } from "./steps.js";

type Line = Pick<LogLine, "message"> & Partial<Pick<LogLine, "host" | "stage" | "level">>;
type Sentences = { readonly [T in RunEvent["type"]]: (event: EventOf<T>, plan: Plan) => Line };

/** One event as a sentence for people. `seq` is its place in the run's log. */
export function logLine(seq: number, event: RunEvent, plan: Plan): LogLine {
  const sentence = SENTENCES[event.type] as (event: RunEvent, plan: Plan) => Line;
  const { message, host = null, stage = null, level = "info" } = sentence(event, plan);
  return { seq, at: event.at, host, stage, level, message };
}

const SENTENCES: Sentences = {
  "run-started": ({ run, by, check, reason }, plan) => ({
    message: `${by} started ${check ? "a check of plan" : "plan"} ${plan.id.slice(0, 12)} to ${plan.to} as run ${run}${reason === undefined ? "" : `: ${reason}`}`,
  }),
  "lease-taken": ({ owner, fence }) => ({ message: `${owner} leads the run now, with fence ${fence}` }),
  "stage-started": ({ stage }) => ({ stage, message: `stage ${stage} started` }),
  "stage-finished": ({ stage }) => ({ stage, message: `stage ${stage} finished` }),
  "batch-started": ({ stage, batch }, plan) => ({ stage, message: batchSentence(plan, stage, batch) }),
  "gate-opened": ({ gate, expiresAt }) => ({
    stage: gate,
    level: "warn",
    message: `gate ${gate} is open and waits for approval until ${iso(expiresAt)}`,
  }),
  "gate-decided": ({ gate, decision, by, reason, tokenBy }) => ({
    stage: gate,
    level: decision === "approve" ? "info" : "error",
    message: `${by}${tokenBy === undefined ? "" : ` (by a token that ${tokenBy} made)`} ${DECIDED[decision]} gate ${gate}${because(reason)}`,
  }),
  "approval-lapsed": ({ gate, of }) => ({
    stage: gate,
    level: "warn",
    message: `the approval of gate ${gate} by ${of} counts no more: ${of} may not give it any longer`,
  }),
  "approval-renewed": ({ gate, by, reason }) => ({
    stage: gate,
    level: "info",
    message: `${by} signed once more for gate ${gate}${because(reason)}`,
  }),
  "gate-passed": ({ gate, how }) => ({
    stage: gate,
    level: how === "approvals" ? "info" : how === "timeout" ? "warn" : "error",
    message: `gate ${gate} is passed${PASSED[how]}`,
  }),
  "gate-expired": ({ gate, action }) => ({
    stage: gate,
    level: "warn",
    message: `nobody answered gate ${gate} in time; its policy is to ${action}`,
  }),
  "step-intended": ({ host, stage, op, attempt }) => ({
    host,
    stage,
    message: attempt === 1 ? `${host}: ${op}` : `${host}: ${op}, attempt ${attempt}`,
  }),
  "step-ended": ({ step, outcome }) => {
    const { host, stage } = partsOf(step);
    switch (outcome.status) {
      case "done":
        return {
          host,
          stage,
          message: `${host}: done, ${outcome.changed ? "changed" : "nothing to change"}${saidByHooks(outcome.result)}`,
        };
      case "failed":
        return {
          host,
          stage,
          level: outcome.retryable ? "warn" : "error",
          message: `${host}: failed, ${outcome.error.message} (${outcome.error.code})${saidByHooks(outcome.error.context)}`,
        };
      case "reverted":
        return {
          host,
          stage,
          level: "error",
          message: `${host}: did not hold and was undone, ${outcome.error.message} (${outcome.error.code})${saidByHooks(outcome.error.context)}`,
        };
      case "unknown":
        return {
          host,
          stage,
          level: "error",
          message: `${host}: outcome unknown, ${outcome.error.message} (${outcome.error.code})`,
        };
    }
  },
  "failure-opened": ({ gate, stage, cause }) => ({
    stage,
    level: "error",
    message: `stopped at failure gate ${gate}: ${cause.message} (${cause.code})`,
  }),
  "failure-decided": ({ gate, decision, hosts, by, reason }) => ({
    stage: gate.replace(/\.failure-\d+$/, ""),
    level: "warn",
    message: `${by} decided failure gate ${gate}: ${decision}${hosts.length > 0 ? ` ${hosts.join(", ")}` : ""}${because(reason)}`,
  }),
  "host-unreachable": ({ host, stage }) => ({
    host,
    stage,
    level: "error",
    message: `${host}: stayed away, so nothing was sent to it`,
  }),
  "host-quarantined": ({ host, by, reason }) => ({
    host,
    level: "warn",
    message: `${host}: set aside by ${by}${because(reason)}`,
  }),
  "host-released": ({ host, by, reason }) => ({ host, message: `${host}: taken back by ${by}${because(reason)}` }),
  "pause-asked": ({ by, reason }) => ({ level: "warn", message: `${by} asked for a pause${because(reason)}` }),
  resumed: ({ by }) => ({ message: `${by} resumed the run` }),
  "abort-asked": ({ by, reason, rollback }) => ({
    level: "warn",
    message: `${by} asked to ${rollback ? "roll back" : "abort"}${because(reason)}`,
  }),
  "run-ended": ({ result, reason }) => ({
    level: result === "done" ? "info" : "error",
    message: `the run ended ${result}${because(reason)}`,
  }),
};

const DECIDED = {
  approve: "approved",
  reject: "rejected",
  "break-glass": "BROKE THE GLASS and alone lets the run pass",
} as const;
const PASSED = {
  approvals: "",
  timeout: ": nobody answered in time",
  "break-glass": " WITHOUT ITS APPROVALS: the glass was broken",
} as const;

function batchSentence(plan: Plan, id: string, batch: number): string {
  const stage = plan.hops.flatMap(({ stages }) => stages).find((candidate) => candidate.id === id);
  if (stage === undefined) return `batch ${batch + 1} started`;
  if (batch === STOP_BATCH) return `stopping ${stage.stop.join(", ")}`;
  const hosts = stage.batches[batch] ?? [];
  const names = hosts.slice(0, 5).join(", ");
  const kind = batch < stage.canaries ? "canary batch" : "batch";
  return `${kind} ${batch + 1} of ${stage.batches.length}: ${names}${hosts.length > 5 ? ` and ${hosts.length - 5} more` : ""}`;
}

/** `<run>/<stage>/<host>/<index>/<attempt>` */
function partsOf(step: StepId): { readonly stage: string; readonly host: string } {
  const [, stage = "", host = ""] = step.split("/");
  return { stage, host };
}

/** What a host's own hooks printed, by a step's result or its error's context; what one that failed printed is the message. */
function saidByHooks(told: unknown): string {
  if (typeof told !== "object" || told === null || !("hooks" in told) || !Array.isArray(told.hooks)) return "";
  const runs = told.hooks as readonly HookRun[];
  return runs.map(({ hook, output }) => `; hook ${hook}${output === "" ? "" : `: ${output}`}`).join("");
}

function because(reason: string): string {
  return reason === "" ? "" : `: ${reason}`;
}

function iso(at: number): string {
  return new Date(at).toISOString();
}
