#!/usr/bin/env -S NODE_OPTIONS= node
// A small service that upgrades like Teleport: one HTTP port, a pid file, HUP forks a successor from the path it was
// started by. A test runner's own NODE_OPTIONS are not for it. What it is and how it misbehaves stands in VERSION beside
// it. Every start is counted in $HOME_DIR/starts.
import { spawn } from "node:child_process";
import { appendFileSync, readFileSync, writeFileSync } from "node:fs";
import { createServer } from "node:http";
import { dirname, join } from "node:path";
import { fileURLToPath } from "node:url";

const home = process.env.HOME_DIR;
const here = dirname(fileURLToPath(import.meta.url));
const {
  version,
  mode = "ok",
  ms = 0,
  drainMs = 300,
  reports = version,
} = JSON.parse(readFileSync(join(here, "VERSION"), "utf8"));
if (process.argv[2] === "version") {
  process.stdout.write(`Svc v${version} go1.16.2\n`);
  process.exit(0);
}
appendFileSync(join(home, "starts"), `${version} ${process.pid}\n`);
if (mode === "crash") process.exit(1);
if (mode === "ends") process.exit(0);
writeFileSync(join(home, "data"), `written by ${version}`);

const server = createServer((request, response) => {
  if (request.url === "/metrics")
    response.end(`# TYPE svc_build_info gauge\nsvc_build_info{version="v${reports}",os="linux"} 1\nsvc_migrations 0\n`);
  else if (request.url === "/readyz") response.writeHead(mode === "never-ready" ? 503 : 200).end('{"status":"ok"}');
  else response.writeHead(404).end();
});
server.on("error", () => setTimeout(listen, 20));
const listen = () =>
  server.listen(Number(process.env.PORT), "127.0.0.1", () => {
    writeFileSync(join(home, "pid"), `${process.pid}\n`);
    if (mode === "crash-after") setTimeout(() => process.exit(1), ms);
  });
listen();

process.on("SIGTERM", () => {
  if (mode !== "stubborn") process.exit(0);
});
process.on("SIGHUP", () => {
  if (mode === "deaf") return;
  spawn(process.argv[1], [], { stdio: "ignore", detached: true }).unref();
  server.close();
  server.closeAllConnections();
  setTimeout(() => process.exit(0), drainMs);
});
