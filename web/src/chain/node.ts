/** A node of the chain, through the pool's proxy, and the reads that the page needs. */
import {
  type Account,
  type Address,
  type Chain,
  type Client,
  createClient,
  defineChain,
  http,
  type Transport,
} from "viem";
import { getBalance, getBlock, getBlockNumber, getChainId, getContractEvents, readContract } from "viem/actions";
import { marketAbi, type OrderStatus, shopAbi, tokenAbi } from "../abi";
import { fromHex, type Hex } from "../bytes";
import type { ChainInfo } from "../pool";
import type { Tariff } from "../price";
import { Problem } from "../problem";
import type { Answer } from "../vanity/result";

export type Node = Client<Transport, Chain>;
export type SigningNode = Client<Transport, Chain, Account>;

export function chainOf(info: ChainInfo): Chain {
  return defineChain({
    id: info.chainId,
    name: info.dev ? `Gristmill development chain ${info.chainId}` : `Chain ${info.chainId}`,
    nativeCurrency: { name: "Ether", symbol: "ETH", decimals: 18 },
    rpcUrls: { default: { http: [info.rpcUrl] } },
  });
}

export function nodeOf(info: ChainInfo): Node {
  return createClient({
    chain: chainOf(info),
    transport: http(info.rpcUrl, { timeout: 15_000 }),
    pollingInterval: 1_000,
  });
}

/** What the shop sells, as its contracts say: the pool's word is only taken for the shop's address. */
export interface Terms extends Tariff {
  /** Seconds from order to deadline. */
  duration: number;
  active: boolean;
}

export async function readTerms(node: Node, info: ChainInfo): Promise<Terms> {
  const chainId = await getChainId(node);
  if (chainId !== info.chainId) {
    const why = `The pool says chain ${info.chainId}, its node says ${chainId}.`;
    throw new Problem("The shop cannot be used.", why, "Tell the pool's operator; do not pay anything here.");
  }
  const shop = { address: info.shop, abi: shopAbi } as const;
  const [market, token, offer, unitCandidates, minUnits] = await Promise.all([
    readContract(node, { ...shop, functionName: "MARKET" }),
    readContract(node, { ...shop, functionName: "TOKEN" }),
    readContract(node, { ...shop, functionName: "OFFER" }),
    readContract(node, { ...shop, functionName: "UNIT_CANDIDATES" }),
    readContract(node, { ...shop, functionName: "MIN_UNITS" }),
  ]);
  if (!sameAddress(market, info.market) || !sameAddress(token, info.token)) {
    const why = "The shop's contract works with another market or token than the pool says.";
    throw new Problem("The shop cannot be used.", why, "Tell the pool's operator; do not pay anything here.");
  }
  const [terms, active] = await readContract(node, {
    address: market,
    abi: marketAbi,
    functionName: "offerOf",
    args: [offer],
  });
  return { unitPrice: terms.unitPrice, unitCandidates, minUnits, duration: terms.duration, active };
}

export function sameAddress(a: string, b: string): boolean {
  return a.toLowerCase() === b.toLowerCase();
}

export async function quote(node: Node, shop: Address, params: Hex): Promise<{ units: bigint; price: bigint }> {
  const [units, price] = await readContract(node, {
    address: shop,
    abi: shopAbi,
    functionName: "quote",
    args: [params],
  });
  return { units, price };
}

export interface Balances {
  rlc: bigint;
  ether: bigint;
  /** Refunds that wait in the market to be withdrawn. */
  market: bigint;
}

export async function readBalances(node: Node, info: ChainInfo, account: Address): Promise<Balances> {
  const [rlc, ether, market] = await Promise.all([
    readContract(node, { address: info.token, abi: tokenAbi, functionName: "balanceOf", args: [account] }),
    getBalance(node, { address: account }),
    readContract(node, { address: info.market, abi: marketAbi, functionName: "accountOf", args: [account] }),
  ]);
  return { rlc, ether, market };
}

/** An order as the market's event has it, with the transaction that made it. */
export interface PlacedOrder {
  id: Hex;
  tx: Hex;
  block: bigint;
  placedAtMs: number;
  details: OrderDetails;
}

export interface OrderDetails {
  offer: Hex;
  requester: Address;
  callback: Address;
  callbackGas: number;
  units: bigint;
  price: bigint;
  deadline: bigint;
  nonce: bigint;
  params: Hex;
}

/** Null when the chain has no such order. */
export async function readOrder(node: Node, info: ChainInfo, order: Hex): Promise<PlacedOrder | null> {
  const filter = {
    address: info.market,
    abi: marketAbi,
    eventName: "Requested",
    args: { order },
    strict: true,
  } as const;
  const logs = await allBlocks(node, info, (range) => getContractEvents(node, { ...filter, ...range }));
  const log = logs.at(-1);
  if (!log) return null;
  const block = await getBlock(node, { blockNumber: log.blockNumber });
  return {
    id: order,
    tx: log.transactionHash,
    block: log.blockNumber,
    placedAtMs: Number(block.timestamp) * 1000,
    details: log.args.details,
  };
}

export async function readStatus(node: Node, info: ChainInfo, order: Hex): Promise<OrderStatus> {
  return readContract(node, { address: info.market, abi: marketAbi, functionName: "statusOf", args: [order] });
}

export interface Settlement {
  tx: Hex;
  worker: Address;
  workerPaid: bigint;
  poolPaid: bigint;
  providerPaid: bigint;
  result: Hex;
  /** The shop did not take the result; the result itself is good. */
  callbackFailed: boolean;
}

export async function readSettlement(
  node: Node,
  info: ChainInfo,
  order: Hex,
  fromBlock: bigint,
): Promise<Settlement | null> {
  const filter = {
    address: info.market,
    abi: marketAbi,
    args: { order },
    strict: true,
    fromBlock,
    toBlock: "latest",
  } as const;
  const [settled, failed] = await Promise.all([
    getContractEvents(node, { ...filter, eventName: "Settled" }),
    getContractEvents(node, { ...filter, eventName: "CallbackFailed" }),
  ]);
  const log = settled.at(-1);
  if (!log) return null;
  const { worker, workerPaid, poolPaid, providerPaid, result } = log.args;
  return {
    tx: log.transactionHash,
    worker,
    workerPaid,
    poolPaid,
    providerPaid,
    result,
    callbackFailed: failed.length > 0,
  };
}

export interface Refund {
  tx: Hex;
  amount: bigint;
  /** The pool gave the order back, with these words. Null when the deadline had passed. */
  declinedBecause: string | null;
}

export async function readRefund(node: Node, info: ChainInfo, order: Hex, fromBlock: bigint): Promise<Refund | null> {
  const filter = {
    address: info.market,
    abi: marketAbi,
    args: { order },
    strict: true,
    fromBlock,
    toBlock: "latest",
  } as const;
  const [refunded, declined] = await Promise.all([
    getContractEvents(node, { ...filter, eventName: "Refunded" }),
    getContractEvents(node, { ...filter, eventName: "Declined" }),
  ]);
  const log = refunded.at(-1);
  if (!log) return null;
  const reason = declined.at(-1)?.args.reason;
  const declinedBecause = reason === undefined ? null : new TextDecoder().decode(fromHex(reason)) || "no reason given";
  return { tx: log.transactionHash, amount: log.args.amount, declinedBecause };
}

/** What the shop has stored. Ask it through the user's own wallet where there is one: that is not the pool's node. */
export async function readAnswer(node: Node, shop: Address, order: Hex): Promise<Answer | null> {
  const [found, worker, index, image] = await readContract(node, {
    address: shop,
    abi: shopAbi,
    functionName: "answerOf",
    args: [order],
  });
  return found ? { worker: fromHex(worker), index, image } : null;
}

export interface OrderOfRequester {
  id: Hex;
  tx: Hex;
  block: bigint;
  requester: Address;
  price: bigint;
  params: Hex;
}

export async function readOrdersOf(node: Node, info: ChainInfo, requester: Address): Promise<OrderOfRequester[]> {
  const filter = { address: info.shop, abi: shopAbi, eventName: "Ordered", args: { requester }, strict: true } as const;
  const logs = await allBlocks(node, info, (range) => getContractEvents(node, { ...filter, ...range }));
  return logs.map(({ args, transactionHash, blockNumber }) => ({
    id: args.order,
    tx: transactionHash,
    block: blockNumber,
    requester: args.requester,
    price: args.price,
    params: args.params,
  }));
}

export async function latestBlockTime(node: Node): Promise<number> {
  return Number((await getBlock(node)).timestamp);
}

type BlockRange = { fromBlock: bigint; toBlock: "latest" };

/** How far back to look on nodes that refuse to answer for the whole chain at once. */
const RECENT_BLOCKS = 9_000n;

async function allBlocks<T>(
  node: Node,
  { marketBlock }: ChainInfo,
  read: (range: BlockRange) => Promise<T>,
): Promise<T> {
  try {
    return await read({ fromBlock: marketBlock, toBlock: "latest" });
  } catch (error) {
    const latest = await getBlockNumber(node);
    if (latest <= marketBlock + RECENT_BLOCKS) throw error;
    return read({ fromBlock: latest - RECENT_BLOCKS, toBlock: "latest" });
  }
}
