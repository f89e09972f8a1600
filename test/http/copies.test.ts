import { chmod, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { pino } from "pino";
import t from "tap";
import { BUCKET, S3Server } from "../support/s3.js";
import { digest, HttpScene } from "./scene.js";

const PATH = "/v1/backups/node-1/run.hop-1.node-1/copy";

/** belayd's section for this server. */
const section = ({ endpoint }: S3Server, credentialsFile: string) =>
  `backupStore: { kind: s3, endpoint: "${endpoint}", bucket: ${BUCKET}, prefix: b, pathStyle: true, credentialsFile: "${credentialsFile}" }\n`;

t.test("copies pass through belayd into object storage and back, many at once", async (t) => {
  const server = await S3Server.open(t);
  const scene = await HttpScene.open(t, section(server, server.credentialsFile));
  const token = await scene.tokenOf("node-1");
  const bodies = Array.from({ length: 6 }, (_, index) => new Uint8Array(6 * 1024 * 1024 + index).fill(index));
  const answers = await Promise.all(bodies.map((body) => scene.call("PUT", PATH, { token, body })));
  t.same(
    answers.map(({ status, body }) => [status, body.sha256]),
    bodies.map((body) => [200, digest(body)]),
  );
  for (const body of bodies) {
    const url = `${scene.daemon.address}${PATH}?sha256=${digest(body)}`;
    const back = await fetch(url, { headers: { authorization: `Bearer ${token}` } });
    t.equal(digest(new Uint8Array(await back.arrayBuffer())), digest(body));
  }
});

t.test("a storage that is away or refuses is said so, and no log line or answer holds a key", async (t) => {
  const server = await S3Server.open(t);
  const secret = "this-secret-is-nobodys-business";
  const wrong = join(server.dir, "wrong");
  await writeFile(wrong, `aws_access_key_id = S3RVER\naws_secret_access_key = ${secret}\n`);
  await chmod(wrong, 0o600);
  const said: string[] = [];
  const log = pino({ level: "trace" }, { write: (line) => said.push(line) });
  const scene = await HttpScene.open(t, section(server, wrong), { log });
  const token = await scene.tokenOf("node-1");
  const body = new Uint8Array(100).fill(1);
  const refused = await scene.call("PUT", PATH, { token, body });
  t.match(refused, { status: 503, body: { error: { code: "copy-store-refused", hint: /backupStore/ } } });
  await server.stop();
  const away = await scene.call("PUT", PATH, { token, body });
  t.match(away, { status: 503, body: { error: { code: "copy-store-unreachable", hint: /endpoint/ } } });
  t.match(await scene.call("GET", PATH, { token }), { status: 404, body: { error: { code: "copy-unknown" } } });
  t.ok(
    said.some((line) => line.includes("copy-store-refused")),
    "the log says what is wrong",
  );
  t.notMatch(
    [...said, JSON.stringify([refused.body, away.body])].join(""),
    new RegExp(`${secret}|Signature=|AWS4-HMAC`),
  );
});

t.test("belayd does not start on keys that everybody can read", async (t) => {
  const server = await S3Server.open(t);
  await chmod(server.credentialsFile, 0o644);
  await t.rejects(HttpScene.open(t, section(server, server.credentialsFile)), { code: "credentials-exposed" });
});
