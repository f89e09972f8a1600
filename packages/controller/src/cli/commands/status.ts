import type { Status } from "../../api/contract.js";
import type { CommandSpec } from "../command.js";
import { EXIT } from "../exit.js";
import { brokenGlassLines, type Page } from "../render/gate.js";
import { labelled } from "../render/label.js";
import { pageOf } from "../watch/display.js";

export const status: CommandSpec = {
  name: "status",
  summary: "what belayd looks after, and what goes on",
  examples: ["belay status", "belay status --json"],
  async run(session) {
    const { api } = await session.connect();
    session.answer(await api.status(), (answer) => [
      ...labelled("belayd", [`${answer.version} at ${api.client.server}`]),
      ...supersededLines(answer, pageOf(session)),
      ...statusLines(answer),
      ...brokenGlassLines(
        answer.brokenGlass.map(({ run, gate, ...rest }) => ({ ...rest, gate: `${gate} of ${run}` })),
        pageOf(session),
      ),
    ]);
    return EXIT.ok;
  },
};

/** Before the fleet: nothing that it says of that may be true any more. */
function supersededLines({ superseded }: Status, { style }: Page): string[] {
  if (superseded === null) return [];
  const { why, hosts, more } = superseded;
  const whom = hosts === "all" ? "any host" : hosts.join(", ") + (more > 0 ? ` and ${more} more` : "");
  return labelled("superseded", [
    style.bad(why),
    `nothing is sent to ${whom}: another belayd leads, or this one's data is an old copy`,
  ]);
}

function statusLines({ fleet, hosts, activeRuns }: Status): string[] {
  const strangers = hosts.undeclared === 0 ? "" : `, and ${hosts.undeclared} connected that nobody declared`;
  return [
    ...labelled("fleet", [fleet]),
    ...labelled("hosts", [`${hosts.present} of ${hosts.declared} connected${strangers}`]),
    ...labelled("runs", activeRuns.length === 0 ? ["none goes on"] : activeRuns),
  ];
}
