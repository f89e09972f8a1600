import type { HostView } from "../../api/contract.js";
import type { CommandSpec } from "../command.js";
import { EXIT } from "../exit.js";
import { hostListing } from "../render/host.js";

interface ListOptions {
  readonly cluster?: readonly string[];
  readonly offline?: true;
}

export const hostList: CommandSpec<ListOptions> = {
  name: "list",
  summary: "list every host: declared, connected, or once seen",
  options: [
    { flags: "--cluster <name,...>", about: "only of these clusters", list: true },
    { flags: "--offline", about: "only those that are not connected" },
  ],
  examples: ["belay host list", "belay host list --cluster eu --offline"],
  async run(session, { cluster, offline }) {
    const { api } = await session.connect();
    const wanted = (host: HostView) =>
      (cluster === undefined || (host.cluster !== null && cluster.includes(host.cluster))) &&
      !(offline && host.present);
    session.answer((await api.hosts()).filter(wanted), (hosts) =>
      hostListing(hosts, session.outside.now(), session.style),
    );
    return EXIT.ok;
  },
};
