import { once } from "node:events";
import { connect } from "node:net";
import { parseArgs } from "node:util";
import { readConfig } from "./config.js";
import { onLines, sendLine } from "./lines.js";
import { ownRelease } from "./release.js";
import type { Server } from "./servers.js";

interface Inventory {
  readonly cluster: string;
  readonly version: string;
  readonly servers: readonly Server[];
}

const TIMEOUT_MS = 2_000;
const { values, positionals } = parseArgs({
  allowPositionals: true,
  options: { config: { type: "string", short: "c", default: "/etc/teleport.yaml" }, format: { type: "string" } },
});

switch (positionals.join(" ")) {
  case "version":
    process.stdout.write(
      `Teleport v${ownRelease().version} git:v${ownRelease().version}-0-g${ownRelease().commit} go1.16.2\n`,
    );
    break;
  case "status": {
    const { cluster, version } = await inventory();
    process.stdout.write(`Cluster  ${cluster}\nVersion  ${version}\n`);
    break;
  }
  case "inventory ls": {
    const { servers } = await inventory();
    if (values.format === "json") process.stdout.write(`${JSON.stringify(servers.map(asInstance), null, 2)}\n`);
    else
      for (const server of servers)
        process.stdout.write(`${server.name}  ${server.roles.join(",")}  v${server.version}\n`);
    break;
  }
  default:
    process.stderr.write("usage: tctl [-c FILE] version | status | inventory ls [--format=json]\n");
    process.exitCode = 64;
}

/** Asks the auth of this host's own config. Ends the process with 1 when none answers. */
async function inventory(): Promise<Inventory> {
  const { auth } = readConfig(values.config);
  if (auth === null) throw new Error(`${values.config}: no auth service runs here`);
  const socket = connect(auth.listen.port, auth.listen.host);
  socket.setTimeout(TIMEOUT_MS, () => socket.destroy(new Error("auth does not answer")));
  await once(socket, "connect");
  return new Promise((resolve, reject) => {
    socket.on("error", reject);
    onLines(socket, (answer) => {
      socket.end();
      resolve(answer as unknown as Inventory);
    });
    sendLine(socket, { ask: "inventory" });
  });
}

function asInstance(server: Server): object {
  return {
    kind: "instance",
    metadata: { name: server.uuid },
    spec: { hostname: server.name, services: server.roles, version: server.version },
  };
}
