import { expect, it } from "vitest";
import { finishedKeyFile, halfKeyFile, makeHalfKey, readHalfKey } from "../../src/key";

const made = makeHalfKey();
const search = { version: 1 as const, ...made, pattern: "1LoVE", createdAt: 1_700_000_000_000, saved: false };

it("a half key survives its file", () => {
  const file = halfKeyFile(search);
  expect(readHalfKey(file)).toEqual(made);
  expect(readHalfKey(file.replaceAll("\n", "\r\n"))).toEqual(made);
  expect(readHalfKey(made.halfKey)).toEqual(made);
  expect(readHalfKey(made.halfKey.slice(2).toUpperCase())).toEqual(made);
});

it("two half keys differ", () => {
  expect(makeHalfKey().halfKey).not.toBe(made.halfKey);
});

it.each([
  "",
  "# only a comment",
  `${made.halfKey}00`,
  `${made.halfKey}\n${made.halfKey}`,
  "0".repeat(64),
  "f".repeat(64),
  "no key",
])("%j is refused", (text) => expect(() => readHalfKey(text)).toThrow(TypeError));

it("the finished file names the address, and the key as WIF", () => {
  const file = finishedKeyFile("1Bg", "1BgGZ9tcN4rm9KBzDn7KprQz87SZ26SAMH", 1n, "0x12");
  expect(file).toContain("1BgGZ9tcN4rm9KBzDn7KprQz87SZ26SAMH");
  expect(file).toContain("KwDiBf89QgGbjEhKnhXJuH7LrciVrZi3qYjgd9M7rFU73sVHnoWn");
});
