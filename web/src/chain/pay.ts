/** What the page sends: the order, the refund, and on a development chain the play money. */
import {
  type Address,
  createClient,
  encodeAbiParameters,
  http,
  parseEventLogs,
  parseEther,
  type TransactionReceipt,
} from "viem";
import { privateKeyToAccount } from "viem/accounts";
import {
  estimateContractGas,
  estimateFeesPerGas,
  getGasPrice,
  readContract,
  sendTransaction,
  simulateContract,
  waitForTransactionReceipt,
  writeContract,
} from "viem/actions";
import { everyAbi, faucetAbi, marketAbi, shopAbi, tokenAbi } from "../abi";
import type { Hex } from "../bytes";
import type { ChainInfo } from "../pool";
import { Problem, tooLittleEther, tooLittleRlc } from "../problem";
import { chainOf, type Node, type OrderDetails, readBalances } from "./node";
import type { Wallet } from "./wallet";

/** One transaction: approves the exact price and orders. Throws before the wallet asks anything if it would fail. */
export async function sendOrder(node: Node, info: ChainInfo, wallet: Wallet, params: Hex, price: bigint): Promise<Hex> {
  const balances = await readBalances(node, info, wallet.address);
  if (balances.rlc < price) throw tooLittleRlc(balances.rlc, price, info.dev);
  const data = encodeAbiParameters([{ type: "bytes" }], [params]);
  const call = {
    address: info.token,
    abi: everyAbi,
    functionName: "approveAndCall",
    args: [info.shop, price, data],
  } as const;
  await simulateContract(node, { ...call, account: wallet.address });
  const [gas, gasPrice] = await Promise.all([
    estimateContractGas(node, { ...call, account: wallet.address }),
    // Chains without a base fee have only the one price.
    estimateFeesPerGas(node).then(
      ({ maxFeePerGas }) => maxFeePerGas,
      () => getGasPrice(node),
    ),
  ]);
  const fee = gas * gasPrice;
  if (balances.ether < fee) throw tooLittleEther(balances.ether, fee, info.dev);
  return writeContract(wallet.signer, call);
}

/** Waits until the order's transaction is in a block, also if the wallet has sent it again with a higher fee. */
export async function orderOf(node: Node, info: ChainInfo, tx: Hex): Promise<Hex> {
  const receipt = await waitForTransactionReceipt(node, { hash: tx, timeout: 0 });
  const logs = receipt.logs.filter(({ address }) => address.toLowerCase() === info.shop.toLowerCase());
  const ordered = parseEventLogs({ abi: shopAbi, eventName: "Ordered", logs })[0];
  if (ordered) return ordered.args.order;
  const why = receipt.status === "reverted" ? "The contract refused it." : "It was replaced by another transaction.";
  throw new Problem(
    "The order was not placed.",
    why,
    "Only the network fee was spent. Look at the price and order again.",
  );
}

/** Hands the order in again: the market keeps only its hash. The money goes to the requester's account there. */
export async function sendRefund(node: Node, info: ChainInfo, wallet: Wallet, order: OrderDetails): Promise<void> {
  const call = { address: info.market, abi: marketAbi, functionName: "refund", args: [order] } as const;
  await simulateContract(node, { ...call, account: wallet.address });
  await mined(node, await writeContract(wallet.signer, call));
}

export async function sendWithdrawal(node: Node, info: ChainInfo, wallet: Wallet, amount: bigint): Promise<void> {
  const call = { address: info.market, abi: marketAbi, functionName: "withdraw", args: [amount] } as const;
  await simulateContract(node, { ...call, account: wallet.address });
  await mined(node, await writeContract(wallet.signer, call));
}

async function mined(node: Node, hash: Hex): Promise<TransactionReceipt> {
  const receipt = await waitForTransactionReceipt(node, { hash, timeout: 0 });
  if (receipt.status === "success") return receipt;
  throw new Problem("The transaction failed.", "The contract refused it.", "Reload the page to see the order's state.");
}

/**
 * Account 5 of the mnemonic that every development tool uses ("test test … junk"): everybody knows this key, and
 * development chains fill it.
 */
const TAP_KEY = "0x8b3a350cf5c34c9194ca85829a2df0ec3153be0318b5e2d3348e872092edffba";
const TAP_ETHER = parseEther("1");
const ETHER_ENOUGH = parseEther("0.1");
const TAP_RLC = 500n * 10n ** 9n;
/** One call of the faucet gives at most FAUCET_MAX. */
const TAP_CALLS_MAX = 10n;

/** Play money, on a development chain only: fills the account up to what an order of this price takes. */
export async function openTap(node: Node, info: ChainInfo, account: Address, price: bigint): Promise<void> {
  const tap = privateKeyToAccount(TAP_KEY);
  const signer = createClient({
    account: tap,
    chain: chainOf(info),
    transport: http(info.rpcUrl),
    pollingInterval: 1_000,
  });
  const balances = await readBalances(node, info, account);
  if (balances.ether < ETHER_ENOUGH) {
    const dry = (await readBalances(node, info, tap.address)).ether < TAP_ETHER;
    if (dry)
      throw new Problem("No play money was given.", "The development chain's tap is dry.", "Start the chain afresh.");
    await mined(node, await sendTransaction(signer, { to: account, value: TAP_ETHER }));
  }
  let missing = price + TAP_RLC - balances.rlc;
  const most = await readContract(node, { address: info.token, abi: faucetAbi, functionName: "FAUCET_MAX" });
  if (missing > most * TAP_CALLS_MAX) {
    throw new Problem("No play money was given.", "Even the tap has not that much.", "Shorten the pattern.");
  }
  const total = missing;
  for (; missing > 0n; missing -= most) {
    const args = [missing < most ? missing : most] as const;
    await mined(
      node,
      await writeContract(signer, { address: info.token, abi: faucetAbi, functionName: "faucet", args }),
    );
  }
  if (total > 0n) {
    const transfer = { address: info.token, abi: tokenAbi, functionName: "transfer", args: [account, total] } as const;
    await mined(node, await writeContract(signer, transfer));
  }
}
