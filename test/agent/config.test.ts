import { spawnSync } from "node:child_process";
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { AGENT_VERSION, parseConfig } from "@belay/agent";
import t from "tap";
import { AGENT_BIN } from "./support/world.js";

const GOOD = `controller: http://127.0.0.1:7440/
host: auth-1
tokenFile: /etc/belay/token
services:
  teleport: { manager: systemd, unit: teleport.service }
  demo:
    manager: process
    argv: [/usr/local/bin/teleport, start]
directories: [/opt/teleport]
commands:
  healthy: [/usr/bin/true]
`;

t.test("a whole file, with its defaults", async (t) => {
  const config = parseConfig(GOOD, "agent.yaml");
  t.match(config, { controller: "http://127.0.0.1:7440", host: "auth-1", stateDir: "/var/lib/belay-agent" });
  t.same(config.services.get("teleport"), { manager: "systemd", unit: "teleport.service" });
  t.same(config.services.get("demo"), {
    manager: "process",
    argv: ["/usr/local/bin/teleport", "start"],
    env: {},
    cwd: "/",
    pidFile: null,
    logFile: "/var/lib/belay-agent/demo.log",
    reloadSignal: "SIGHUP",
    restartDelayMs: 5000,
    initially: "stopped",
  });
});

t.test("who supervises the agent", async (t) => {
  const selfOf = (text: string, good = GOOD) => parseConfig(`${good}${text}`, "agent.yaml").self;
  const underSystemd = (text: string) => selfOf(text, GOOD.replace(/ {2}demo:\n.*\n.*\n/, ""));
  t.equal(selfOf(""), null);
  const systemd = { manager: "systemd", unit: "belay-agent.service", rescue: "belay-agent-rescue.service" };
  t.same(underSystemd("self: { manager: systemd }"), systemd);
  t.same(underSystemd("self: { manager: systemd, unit: a.service, rescue: b.service }"), {
    manager: "systemd",
    unit: "a.service",
    rescue: "b.service",
  });
  t.same(selfOf("self: { manager: process }"), { manager: "process", program: "/opt/belay/agent/current/belay-agent" });
  t.throws(() => selfOf("self: { manager: process, unit: a.service }"), { message: /:12: self\.unit is not a known/ });
  t.throws(() => selfOf("self: { manager: cron }"), { message: /:12: self\.manager must be one of systemd, process/ });
  t.throws(() => selfOf("self: { manager: systemd }"), {
    code: "config-invalid",
    message: /^agent\.yaml:7: services\.demo\.manager can't be process under an agent that systemd keeps/,
    hint: /write a unit/,
  });
  const taken = GOOD.replace("  demo:", "  belay-agent:");
  t.throws(() => parseConfig(taken, "agent.yaml"), { message: /services\.belay-agent is the agent itself/ });
});

t.test("every complaint names file, line and field", async (t) => {
  const cases: [string, string, RegExp][] = [
    ["host: auth-1", "host: Auth_1", /^agent\.yaml:2: host must be a host name/],
    ["host: auth-1\n", "", /^agent\.yaml:1: host is missing/],
    ["host: auth-1", "hots: auth-1", /^agent\.yaml:2: hots is not a known field/],
    ["http://127.0.0.1:7440/", "127.0.0.1:7440", /^agent\.yaml:1: controller must be an address/],
    ["http://127.0.0.1:7440/", "http://10.0.0.5:7440", /^agent\.yaml:1: controller must be https/],
    ["host: auth-1", "host: auth-1\nstateDir: state", /^agent\.yaml:3: stateDir must be an absolute path/],
    ["/etc/belay/token", "token", /^agent\.yaml:3: tokenFile must be an absolute path/],
    [
      "manager: systemd,",
      "manager: upstart,",
      /^agent\.yaml:5: services\.teleport\.manager must be one of systemd, process/,
    ],
    ["unit: teleport.service", "unti: x", /^agent\.yaml:5: services\.teleport\.unti is not a known field/],
    ["[/usr/local/bin/teleport, start]", "teleport start", /^agent\.yaml:8: services\.demo\.argv must be a list/],
    ["[/usr/local/bin/teleport, start]", "[teleport]", /^agent\.yaml:8: services\.demo\.argv must begin with/],
    ["[/opt/teleport]", "[opt]", /^agent\.yaml:9: directories\[0\] must be an absolute path/],
    ["[/usr/bin/true]", "[]", /^agent\.yaml:11: commands\.healthy must be a list of at least one/],
    [
      "    manager: process",
      "    manager: process\n    restartDelayMs: soon",
      /^agent\.yaml:8: .*restartDelayMs must be a whole number/,
    ],
    ["host: auth-1", "host: [auth-1", /^agent\.yaml:\d+: /],
    ["host: auth-1", "host: auth-1\nhost: auth-2", /^agent\.yaml:3: .*unique/],
  ];
  for (const [from, to, message] of cases) {
    t.throws(() => parseConfig(GOOD.replace(from, to), "agent.yaml"), { code: "config-invalid", message }, to);
  }
});

t.test("backends: secrets are named by their files, and every complaint names its field", async (t) => {
  const withBackend = (backend: string) => parseConfig(`${GOOD}backends:\n  state: ${backend}\n`, "agent.yaml");
  const tls = { caFile: null, certFile: null, keyFile: null };
  t.same(
    withBackend('{ kind: etcd, endpoints: ["http://127.0.0.1:2379/"], prefix: /teleport }').backends.get("state"),
    {
      kind: "etcd",
      endpoints: ["http://127.0.0.1:2379"],
      prefix: "/teleport/",
      tls,
      user: null,
      passwordFile: null,
    },
  );
  t.same(
    withBackend("{ kind: postgres, host: db, database: teleport, user: me, passFile: /p }").backends.get("state"),
    {
      kind: "postgres",
      host: "db",
      port: 5432,
      database: "teleport",
      user: "me",
      passFile: "/p",
      sslMode: null,
      tls,
      schemas: [],
    },
  );
  const cases: [string, RegExp][] = [
    ["{ kind: mongo }", /state\.kind must be one of etcd, postgres, command/],
    ["{ kind: etcd, prefix: /t }", /state\.endpoints must be a list of at least one/],
    ['{ kind: etcd, endpoints: ["http://me:secret@db:2379"], prefix: /t }', /endpoints\[0\] must be an address/],
    ['{ kind: etcd, endpoints: ["http://db:2379"], prefix: /t, user: root }', /needs both user and passwordFile/],
    ['{ kind: etcd, endpoints: ["http://db:2379"], prefix: /t, certFile: /c }', /needs both certFile and keyFile/],
    ['{ kind: etcd, endpoints: ["http://db:2379"], prefix: /t, password: x }', /state\.password is not a known field/],
    ['{ kind: postgres, host: db, database: d, user: u, schemas: ["a\'b"] }', /schemas\[0\] must be a schema's name/],
    ["{ kind: postgres, host: db, database: d, user: u, sslMode: maybe }", /sslMode must be one of/],
    ["{ kind: command, backup: [dump], restore: [/load] }", /state\.backup must begin with/],
    ["{ kind: command, backup: [/dump] }", /state\.restore must be a list of at least one/],
  ];
  for (const [backend, message] of cases)
    t.throws(() => withBackend(backend), { code: "config-invalid", message }, backend);
});

t.test("the command line", async (t) => {
  const dir = mkdtempSync(join(tmpdir(), "belay-config-"));
  t.teardown(() => rmSync(dir, { recursive: true }));
  const run = (...args: string[]) =>
    spawnSync("/usr/bin/env", ["-u", "NODE_OPTIONS", process.execPath, AGENT_BIN, ...args], { encoding: "utf8" });
  const manifest = new URL("../../packages/agent/package.json", import.meta.url);
  t.equal(AGENT_VERSION, JSON.parse(readFileSync(manifest, "utf8")).version);
  t.same(run("--version").stdout, `${AGENT_VERSION}\n`);
  t.match(run("--help"), { status: 0, stdout: /check-config/ });
  t.match(run("--nonsense"), { status: 2, stderr: /usage.*\n.*--help/ });
  t.match(run("dance"), { status: 2, stderr: /no command dance/ });

  const file = join(dir, "agent.yaml");
  const token = join(dir, "token");
  t.match(run("--config", file), { status: 1, stderr: /no such file.*\(config-unreadable\)/ });
  writeFileSync(file, GOOD.replace("/etc/belay/token", token));
  writeFileSync(token, "too short");
  t.match(run("check-config", "--config", file), { status: 1, stderr: /token-invalid/ });
  writeFileSync(token, "long-enough-a-token\n");
  t.match(run("check-config", "--config", file), {
    status: 0,
    stdout: /services {4}teleport \(systemd\), demo \(process\)/,
  });
  writeFileSync(file, "host: 1");
  const bad = run("--config", file);
  t.match(bad, { status: 1, stderr: /agent\.yaml:1: tokenFile|agent\.yaml:1: controller/ });
  t.notMatch(bad.stderr, /at .*\.js:\d+/, "no stack trace");
});
