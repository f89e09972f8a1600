import type { Wait } from "../../run/wait.js";
import type { Page } from "./gate.js";
import { labelled, labelledText } from "./label.js";
import { moment, span } from "./measure.js";
import { names } from "./text.js";

const SHOWN_HOSTS = 8;

/** Why a run does nothing more right now: what it waits for, since when, what would unblock it. */
export function waitLines(waits: readonly Wait[], page: Page): string[] {
  return waits.flatMap((wait) => {
    const { now, columns, style } = page;
    const until = wait.until === undefined ? "" : `, until ${moment(wait.until, now)}`;
    return [
      ...labelledText("waits for", wait.message, columns, style.warn),
      ...labelledText("since", `${moment(wait.since, now)} (${span(now - wait.since)})${until}`, columns),
      ...(wait.hosts === undefined || wait.hosts.length === 0
        ? []
        : labelledText("hosts", names(wait.hosts, SHOWN_HOSTS), columns)),
      // In one piece, however long: it is there to be copied.
      ...labelled("unblock", [wait.unblock]),
    ];
  });
}
