import { createServer, type IncomingMessage, type ServerResponse } from "node:http";
import type { Server } from "node:net";
import { minClientVersion } from "./compat.js";
import type { Readiness } from "./health.js";
import type { Release } from "./release.js";

/** What a process says of itself when it is asked. */
export interface Self {
  readonly release: Release;
  readonly readiness: () => Readiness;
  /** Null: no auth runs here. */
  readonly migrating: () => boolean | null;
  readonly registered: () => ReadonlyMap<string, number>;
  /** Null: not known yet, because no auth was ever reached. */
  readonly clusterName: () => string | null;
}

type Answer = { readonly code: number; readonly body: string | object };
type Route = () => Answer;

/** `/healthz`, `/readyz` and `/metrics`. */
export function serveDiagnostics(listener: Server, self: Self): void {
  serve(listener, {
    "/healthz": () => ({ code: 200, body: { status: "ok" } }),
    "/readyz": self.readiness,
    "/metrics": () => ({ code: 200, body: metrics(self) }),
  });
}

/** `/webapi/ping` and `/webapi/find`, as a proxy answers them. */
export function serveWeb(listener: Server, self: Self): void {
  const ping: Route = () => {
    const cluster = self.clusterName();
    if (cluster === null) return { code: 503, body: { error: { message: "no auth server was reached yet" } } };
    const { version } = self.release;
    return {
      code: 200,
      body: {
        auth: { type: "local", second_factor: "otp" },
        proxy: { kube: { enabled: false }, ssh: { dial_timeout: 30_000_000_000 } },
        server_version: version,
        min_client_version: minClientVersion(version),
        cluster_name: cluster,
        edition: "oss",
        fips: false,
        auto_update: { agent_version: version, agent_auto_update: false, agent_update_jitter_seconds: 60 },
      },
    };
  };
  serve(listener, { "/webapi/ping": ping, "/webapi/find": ping });
}

function metrics(self: Self): string {
  const { version, commit } = self.release;
  const migrating = self.migrating();
  const lines = [
    "# TYPE teleport_build_info gauge",
    `teleport_build_info{version="${version}",gitref="v${version}-0-g${commit}",goversion="go1.16.2"} 1`,
    "# TYPE process_start_time_seconds gauge",
    `process_start_time_seconds ${((Date.now() - process.uptime() * 1000) / 1000).toFixed(3)}`,
    "# TYPE process_resident_memory_bytes gauge",
    `process_resident_memory_bytes ${process.memoryUsage.rss()}`,
  ];
  if (migrating !== null) {
    lines.push("# TYPE teleport_migrations gauge", `teleport_migrations ${migrating ? 1 : 0}`);
    lines.push("# TYPE teleport_registered_servers gauge");
    for (const [of, count] of self.registered()) lines.push(`teleport_registered_servers{version="${of}"} ${count}`);
  }
  return `${lines.join("\n")}\n`;
}

/**
 * The listener stays a plain `net.Server`, which a fork can inherit, and hands its connections to HTTP. Every answer
 * closes its connection: one kept alive would go on talking to a process that is leaving.
 */
function serve(listener: Server, routes: Readonly<Record<string, Route>>): void {
  const http = createServer((request: IncomingMessage, response: ServerResponse) => {
    const route = routes[new URL(request.url ?? "/", "http://self").pathname];
    const { code, body } = route?.() ?? { code: 404, body: { error: { message: "not found" } } };
    const isText = typeof body === "string";
    response.writeHead(code, {
      "content-type": isText ? "text/plain; version=0.0.4" : "application/json",
      connection: "close",
    });
    response.end(isText ? body : JSON.stringify(body));
  });
  http.on("clientError", (_error, socket) => socket.destroy());
  listener.on("connection", (socket) => http.emit("connection", socket));
}
