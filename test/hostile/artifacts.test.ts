import { readFileSync } from "node:fs";
import { join } from "node:path";
import t from "tap";
import { HttpScene } from "../http/scene.js";
import { END, entry, packed } from "./artifacts/archive.js";
import { ARCHIVE_ATTACKS, MAX_UNPACKED_BYTES } from "./artifacts/archives.js";
import { DOWNLOAD_ATTACKS, part } from "./artifacts/downloads.js";
import { Target } from "./artifacts/target.js";
import { lookAtTree } from "./support/tree.js";

t.setTimeout(300_000);

/** Folders and the ends of blocks. */
const SLACK_BYTES = 4_000_000;
const FILE = "teleport-v6.2.31-linux-amd64-bin.tar.gz";
const honest = () => packed(entry({ path: "teleport/teleport", mode: 0o755, content: "#!/bin/sh\n" }));

t.test("artifact attacks: archives, at an agent (zip-slip: CVE-2020-11652, CVE-2026-7474)", async (t) => {
  const target = await Target.open(t);
  const { world } = target;
  for (const attack of ARCHIVE_ATTACKS) {
    const bytes = attack.bytes(world.dir);
    const { outcome, most } = await target.watched(() => world.controller.step(target.fetchOp(bytes)));
    await t.test(attack.name, async (t) => {
      t.match(outcome, { status: "failed", retryable: false, error: { code: attack.code, message: attack.says } });
      t.match(outcome, { error: { hint: String } }, "says what to do");
      t.same(target.changes(), [], "the host is as it was");
      t.same(target.left(), [], "nothing is left, no part either");
      t.ok(most <= bytes.length + MAX_UNPACKED_BYTES + SLACK_BYTES, `at most ${most} bytes were on the disk`);
    });
  }
  t.ok(ARCHIVE_ATTACKS.length >= 30, `${ARCHIVE_ATTACKS.length} archives`);

  await t.test("and an honest one is taken, by the same agent", async (t) => {
    t.match(await world.controller.step(target.fetchOp(honest())), { status: "done", changed: true });
    const [version = ""] = target.left();
    t.ok(target.changes().includes(`versions/${version}/teleport`), "which this test would have seen");
    t.equal(readFileSync(join(world.versionsDir, version, "teleport"), "utf8"), "#!/bin/sh\n");
  });
});

t.test("artifact attacks: archives, at belayd: what no agent would unpack is not taken in", async (t) => {
  const scene = await HttpScene.open(t);
  const dir = join(scene.dir, "data", "artifacts");
  const attacks = ARCHIVE_ATTACKS.filter(({ code, says }) => code !== "artifact-too-large" || says.test("50000 files"));
  for (const attack of attacks) {
    const answer = await scene.add(FILE, attack.bytes(scene.dir));
    await t.test(attack.name, async (t) => {
      t.match(answer, { status: 400, body: { error: { code: "release-malformed", message: attack.says } } });
      t.match(answer.body, { error: { hint: String } }, "says what to do");
      t.same(lookAtTree(dir), {}, "nothing is left");
    });
  }
  const program = (head: number[]) =>
    packed(entry({ path: "teleport/teleport", content: Buffer.concat([Buffer.from(head), Buffer.alloc(64)]) }));
  const elf = (machine: number) => [0x7f, 0x45, 0x4c, 0x46, 2, 1, 1, 0, 0, 0, 0, 0, 0, 0, 0, 0, 2, 0, machine, 0];
  const stating = (version: string) =>
    packed(
      entry({ path: "teleport/teleport", content: "#!/bin/sh\n" }),
      entry({ path: "teleport/VERSION", content: version }),
    );
  const mixes: [string, string, Buffer, RegExp][] = [
    ["another version's archive", FILE, stating("6.2.30"), /name says 6\.2\.31, and its VERSION file "6\.2\.30"/],
    ["a VERSION file that goes on", FILE, stating(`6.2.31\n${"x".repeat(100)}`), /VERSION file "6\.2\.31/],
    ["a program for other machines", FILE, program(elf(183)), /name says amd64, and its program is made for arm64/],
    ["a program for machines nobody has", FILE, program(elf(243)), /made for machine 243/],
    ["another product's", "belay-agent-v0.2.0-linux-amd64.tar.gz", honest(), /no belay-agent\/belay-agent in it/],
    [
      "a bomb",
      FILE,
      packed(entry({ path: "teleport/teleport", content: Buffer.alloc(400_000_000) })),
      /unpacks to more/,
    ],
  ];
  for (const [what, file, bytes, says] of mixes) {
    const answer = await scene.add(file, bytes);
    t.match(answer, { status: 400, body: { error: { code: "release-malformed", message: says } } }, what);
    t.same(lookAtTree(dir), {}, `${what}: nothing is left`);
  }
  const names = [
    "..%2F..%2Fevil.tar.gz",
    "teleport-v6.2.31-linux-amd64-bin.tar.gz%00",
    ".",
    `${"a".repeat(300)}.tar.gz`,
  ];
  for (const name of names) t.match(await scene.add(name, honest()), { status: 400 }, name);
  t.same(lookAtTree(dir), {}, "nothing is left");
  t.match(await scene.add(FILE, program(elf(62))), { status: 200 }, "and an honest one is taken");
});

t.test("artifact attacks: downloads", async (t) => {
  const target = await Target.open(t);
  const { controller } = target.world;
  for (const attack of DOWNLOAD_ATTACKS) {
    const bytes = packed(entry({ path: "teleport/teleport", content: `#!/bin/sh\n# ${attack.name}\n` }), END);
    const op = target.fetchOp(bytes);
    const honestly = controller.serve;
    controller.serve = (request, answer) => attack.serve(answer, bytes, request);
    const { deadlineMs = 60_000 } = attack;
    const { outcome, most } = await target.watched(() => controller.step(op, { deadlineMs }));
    controller.serve = honestly;
    const { code, says, retryable = false } = attack;
    await t.test(attack.name, async (t) => {
      t.match(outcome, { status: "failed", retryable, error: { code, message: says } });
      t.same(target.changes(), [], "the host is as it was");
      const left = target.left();
      t.same(left, attack.keepsPart && left.length > 0 ? [`.belay-${op.sha256}.partial`] : [], "nothing but a part");
      t.ok(most <= bytes.length + SLACK_BYTES, `at most ${most} bytes were on the disk`);
    });
  }
  await t.test("a download that is resumed with other bytes, then with more, then rightly", async (t) => {
    const bytes = honest();
    const op = target.fetchOp(bytes);
    const honestly = controller.serve;
    const half = Math.floor(bytes.length / 2);
    const asked: (string | undefined)[] = [];
    const cut: typeof honestly = (_, answer) => answer.end(bytes.subarray(0, half));
    const answers: [string, typeof honestly][] = [
      ["download-cut", cut],
      ["download-damaged", (_, answer) => part(answer, Buffer.alloc(bytes.length, "other"), half)],
      ["download-cut", cut],
      ["digest-mismatch", (_, answer) => part(answer, Buffer.concat([bytes, bytes]), half)],
      ["download-cut", cut],
      ["artifact-refused", (_, answer) => part(answer, bytes, half - 1)],
    ];
    for (const [code, serve] of answers) {
      controller.serve = (request, answer) => {
        asked.push(request.headers.range);
        serve(request, answer);
      };
      t.match(await controller.step(op), { status: "failed", error: { code } }, code);
      t.same(target.changes(), [], "the host is as it was");
    }
    t.same(asked, [undefined, `bytes=${half}-`, undefined, `bytes=${half}-`, undefined, `bytes=${half}-`]);
    controller.serve = honestly;
    t.match(await controller.step(op), { status: "done", changed: true });
  });
});
