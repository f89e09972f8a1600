import {
  BelayError,
  decodeAgentMessage,
  decodeControllerMessage,
  type ErrorInfo,
  encode,
  errorInfo,
  MAX_FRAME_BYTES,
  type Step,
} from "@belay/shared";
import fc from "fast-check";
import t from "tap";

const step: Step = {
  type: "step",
  step: "r1/hop-1.main.node/node-1/0/1",
  fence: 3,
  check: false,
  deadlineMs: 1000,
  op: { kind: "stop", service: "teleport", timeoutMs: 500 },
};

t.test("what one side encodes the other decodes", async (t) => {
  t.same(decodeControllerMessage(encode(step)), step);
});

t.test("a malformed message is refused with the field's name", async (t) => {
  const broken = JSON.stringify({ ...step, op: { kind: "stop", service: "rm -rf /", timeoutMs: 1 } });
  t.throws(() => decodeControllerMessage(broken), { code: "message-malformed" });
  t.throws(() => decodeControllerMessage(JSON.stringify({ ...step, extra: 1 })), { code: "message-malformed" });
  t.throws(() => decodeAgentMessage("null"), { message: /\/type is none of hello/ });
  t.throws(() => decodeAgentMessage("{"), { code: "message-malformed", message: /not JSON/ });
  t.throws(() => decodeAgentMessage(JSON.stringify({ type: "accepted", step: "../../etc" })), {
    code: "message-malformed",
    message: /step/,
  });
});

t.test("an oversized frame is refused before it is parsed", async (t) => {
  t.throws(() => decodeAgentMessage(" ".repeat(MAX_FRAME_BYTES + 1)), { code: "message-too-large" });
});

t.test("no input makes the decoders throw anything but a BelayError", async () => {
  fc.assert(
    fc.property(fc.oneof(fc.string(), fc.json()), (frame) => {
      for (const decode of [decodeAgentMessage, decodeControllerMessage]) {
        try {
          decode(frame);
        } catch (error) {
          if (!(error instanceof BelayError)) return false;
        }
      }
      return true;
    }),
    { numRuns: 2_000 },
  );
});

t.test("errors survive JSON", async (t) => {
  const error = new BelayError("disk-full", "no room", { hint: "make some", context: { path: "/x", missing: 5 } });
  const back = BelayError.from(JSON.parse(JSON.stringify(error)) as ErrorInfo);
  t.same(back.toJSON(), error.toJSON());
  t.equal(errorInfo(Object.assign(new Error("no"), { code: "ENOSPC" })).code, "os-enospc");
  t.equal(errorInfo("what").code, "internal");
});

t.test("a frame is not parsed deeper than anything that is said", async (t) => {
  const outcome = (result: string) =>
    `{"type":"outcome","step":"r/s","startedAt":1,"endedAt":2,"outcome":{"status":"done","changed":true,"result":${result}}}`;
  const nested = (depth: number) => `${"[".repeat(depth)}${"]".repeat(depth)}`;
  t.match(decodeAgentMessage(outcome(nested(60))), { type: "outcome" });
  for (const depth of [64, 100_000]) {
    t.throws(() => decodeAgentMessage(outcome(nested(depth))), {
      code: "message-malformed",
      message: /deeper than 64/,
    });
  }
  for (const text of ["[".repeat(100), `\\"${"{".repeat(100)}`, `\\\\`, `${"[".repeat(100)}\\\\\\"[`]) {
    t.match(decodeAgentMessage(outcome(`"${text}"`)), { type: "outcome" }, "what stands in a text is no nesting");
  }
});
