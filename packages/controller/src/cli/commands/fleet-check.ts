import type { FleetView } from "../../api/contract.js";
import type { CommandSpec } from "../command.js";
import { EXIT } from "../exit.js";
import { fleetLines } from "../render/fleet.js";

export const fleetCheck: CommandSpec = {
  name: "check <file>",
  summary: "check a fleet.yaml and say what is wrong with it, and where; needs no belayd",
  examples: ["belay fleet check fleet.yaml"],
  async run(session, _options, [file = ""]) {
    const { checkFleet } = await import("./plan-offline.js");
    const fleet = await checkFleet(file);
    const view: FleetView = {
      fleet: fleet.fleet,
      environment: fleet.environment,
      clusters: fleet.clusters.map(({ name, trusts, managed, hosts }) => ({
        name,
        trusts: trusts ?? null,
        managed: managed !== undefined,
        hosts: hosts.length,
      })),
    };
    session.answer(view, (answer) => [`${file} is fine`, ...fleetLines(answer)]);
    return EXIT.ok;
  },
};
