import { pick } from "../audit/detail.js";
import type { Detail } from "../audit/entry.js";
import type { Controller } from "../execute/controller.js";
import { gateViewOf } from "../run/view.js";
import type { RecordStore } from "../store/records.js";

/** How what a command is about was before it: little, from memory or one look-up. Empty where there is nothing to say. */
export function beforeCommand(parts: {
  records: Pick<RecordStore, "quarantined">;
  controller: Pick<Controller, "active">;
}): (action: string, about: Detail) => Promise<Detail> {
  const { records, controller } = parts;
  return async (_action, { run, gate, host }) => {
    const runner = typeof run === "string" ? controller.active(run) : null;
    if (runner !== null) {
      return runner.look(({ state, view }) =>
        pick(typeof gate === "string" ? gateViewOf(state, gate) : view(), ["status"]),
      );
    }
    if (typeof host !== "string") return {};
    const aside = (await records.quarantined()).find((one) => one.host === host);
    return aside === undefined ? {} : { quarantinedBy: aside.by, quarantinedFor: aside.reason };
  };
}
