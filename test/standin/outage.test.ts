import { execFileSync } from "node:child_process";
import { join } from "node:path";
import t from "tap";
import { askHost, type StateServer } from "../support/fleet-on-disk/index.js";
import { cluster, SmallFleet, until } from "../support/fleet-on-disk/small-fleet.js";
import { whyNoEtcd } from "../support/servers/etcd.js";
import { whyNoPostgres } from "../support/servers/postgres.js";
import { EtcdStates } from "../support/states/etcd.js";
import type { KeptState } from "../support/states/index.js";
import { PostgresStates } from "../support/states/postgres.js";

t.setTimeout(120_000);
const main = (state: KeptState, nodes: number) => [
  { ...cluster("main", { auth: 1, node: nodes }), state: state.server as StateServer },
];
const saying = (fleet: SmallFleet, name: string, ready: number, why: RegExp) =>
  until(`${name} to answer ${ready} ${why}`, async () => {
    const answer = await askHost(fleet.host(name));
    return answer.ready === ready && why.test(answer.why.join("; ")) && answer.why;
  });

const KINDS = [
  {
    kind: "etcd",
    skip: whyNoEtcd(),
    open: async (t: Parameters<typeof EtcdStates.start>[0]) => {
      const states = await EtcdStates.start(t);
      return { states, server: states.etcd };
    },
  },
  {
    kind: "PostgreSQL",
    skip: whyNoPostgres(),
    open: async (t: Parameters<typeof EtcdStates.start>[0]) => {
      const states = await PostgresStates.start(t);
      return { states, server: states.postgres };
    },
  },
];

for (const { kind, skip, open } of KINDS) {
  t.test(`auth is degraded while its ${kind} is away, and comes back with it, losing nothing`, { skip }, async (t) => {
    const { states, server } = await open(t);
    const state = await states.fresh();
    const fleet = await SmallFleet.layOut(t, "5.4.2", main(state, 1));
    await fleet.start("auth-1", "node-1");
    await server.kill();
    t.match(await saying(fleet, "auth-1", 503, /backend unavailable/), [new RegExp(kind)]);
    await saying(fleet, "node-1", 503, /backend unavailable/);
    await server.start();
    await saying(fleet, "auth-1", 200, /^$/);
    await saying(fleet, "node-1", 200, /^$/);
    const host = fleet.host("auth-1");
    const before = (await state.audit(host)).length;
    const rows = await until("it to write again", async () => {
      const found = await state.audit(host);
      return found.length > before && found;
    });
    t.same(
      rows.map(({ seq }) => seq),
      rows.map((_, i) => i + 1),
    );
  });

  t.test(`auth refuses to start where its ${kind} is not`, { skip }, async (t) => {
    const { states, server } = await open(t);
    const fleet = await SmallFleet.layOut(t, "5.4.2", main(await states.fresh(), 0));
    await server.stop();
    fleet.launch("auth-1");
    const [refused] = await fleet.diary("auth-1", "refused");
    t.match(refused?.reason, /^backend unavailable: .*(ECONNREFUSED|socket)/);
  });
}

t.test("etcd is reached over TLS, with a certificate of auth's own", { skip: whyNoEtcd() }, async (t) => {
  const dir = t.testdir();
  const [cert, key] = [join(dir, "cert.pem"), join(dir, "key.pem")];
  const names = ["-subj", "/CN=etcd", "-addext", "subjectAltName=IP:127.0.0.1"];
  const kind = ["-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-noenc", "-days", "2"];
  execFileSync("openssl", ["req", "-x509", ...kind, ...names, "-keyout", key, "-out", cert], { stdio: "pipe" });
  const states = await EtcdStates.start(t, { ca: cert, cert, key });
  const state = await states.fresh();
  const fleet = await SmallFleet.layOut(t, "5.4.2", main(state, 0));
  await fleet.start("auth-1");
  t.match(states.etcd.endpoint, /^https:/);
  t.equal(await state.version(fleet.host("auth-1")), "5.4.2");
});
