import { refuseSettingAside } from "./guard-gates.js";
import { BELAYD } from "./order.js";
import { awaySince } from "./pace.js";
import type { Guard } from "./refusal.js";

/** What setting hosts aside, taking them back and giving them up asks. */
export const hostGuards = {
  "host-unreachable": (state, { stage, batch, host, at }) => {
    const record = state.stages[state.current];
    const work = state.batch?.work.get(host);
    if (record?.stage.id !== stage || state.batch?.index !== batch || work === undefined) {
      return { code: "step-out-of-order", message: `${host} is not in the batch at work` };
    }
    if (work.status !== "ready" && work.status !== "backing-off") {
      return { code: "step-out-of-order", message: `${host} is ${work.status}, not waited for` };
    }
    return at - awaySince(state, work, null) >= record.stage.stepTimeoutMs
      ? null
      : { code: "step-too-early", message: `${host} still has time to come back` };
  },

  "host-quarantined": (state, { host, by }) => {
    if (state.plan.hosts[host] === undefined) {
      return { code: "host-unknown", message: `plan ${state.plan.id.slice(0, 12)} has no host ${host}` };
    }
    if (state.setAside.has(host)) return { code: "host-quarantined", message: `${host} is already set aside` };
    if (by !== BELAYD) return refuseSettingAside(state, host);
    const over = state.batch !== null && state.batch.open === 0 && state.batch.failed.has(host);
    return over ? null : { code: "host-not-failed", message: `${host} has not failed in a batch that is over` };
  },

  "host-released": (state, { host }) => {
    const record = state.hosts.get(host);
    if (record?.aside == null) return { code: "host-not-quarantined", message: `${host} is not set aside in this run` };
    if (record.failed + record.unreachable > 0) {
      return {
        code: "host-failed",
        message: `${host} failed in this run and can't be taken back into it`,
        hint: "plan anew when it is in health",
      };
    }
    return record.missed === null
      ? null
      : {
          code: "host-missed-stage",
          message: `${host} has missed stage ${record.missed}`,
          hint: "plan anew once this run has ended",
        };
  },
} satisfies { [T in "host-unreachable" | "host-quarantined" | "host-released"]?: Guard<T> };
