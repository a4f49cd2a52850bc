import { existsSync, readFileSync } from "node:fs";
import { type Abi, toEventSelector, toFunctionSelector } from "viem";
import { formatAbiItem } from "viem/utils";
import { describe, expect, it } from "vitest";
import { faucetAbi, marketAbi, shopAbi, tokenAbi } from "../../src/abi";

/** The folder of the contracts is not there when only the page is built. */
const artifacts = new URL("../../../contracts/artifacts/", import.meta.url);

const shape = (parameters: readonly unknown[] | undefined): unknown =>
  (parameters ?? []).map((parameter) => {
    const { name, type, indexed, components } = parameter as Record<string, unknown>;
    return {
      name: name ?? "",
      type,
      indexed: indexed ?? false,
      components: shape(components as readonly unknown[] | undefined),
    };
  });

function described(abi: Abi) {
  const items = abi.filter((item) => item.type === "function" || item.type === "event" || item.type === "error");
  return new Map(
    items.map((item) => {
      const id = item.type === "event" ? toEventSelector(item) : toFunctionSelector(formatAbiItem(item as never));
      const outputs = item.type === "function" ? shape(item.outputs) : [];
      const mutability = item.type === "function" ? item.stateMutability : "";
      return [`${item.type} ${item.name} ${id}`, { inputs: shape(item.inputs), outputs, mutability }];
    }),
  );
}

describe.skipIf(!existsSync(artifacts))("ABI fragments", () => {
  it.each([
    ["RLC", tokenAbi],
    ["DevRLC", faucetAbi],
    ["VanityShop", shopAbi],
    ["Market", marketAbi],
  ])("of %s are those of the committed artifact", (name, fragments) => {
    const whole = described(JSON.parse(readFileSync(new URL(`${name}.json`, artifacts), "utf8")).abi);
    const ours = described(fragments as Abi);
    expect(ours.size).toBeGreaterThan(0);
    for (const [id, fragment] of ours) {
      expect(whole.get(id), id).toEqual(fragment);
    }
  });
});
