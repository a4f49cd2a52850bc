// SPDX-License-Identifier: MIT OR Apache-2.0
pragma solidity ^0.8.28;

import {Outcome} from "../Outcome.sol";
import {TaskBase} from "../TaskBase.sol";
import {IMarket} from "../interfaces/IMarket.sol";
import {IERC20} from "@openzeppelin/contracts/token/ERC20/IERC20.sol";
import {SafeERC20} from "@openzeppelin/contracts/token/ERC20/utils/SafeERC20.sol";

/// @title A raffle whose draw is computed off chain
/// @notice Tickets are bought until the sale ends; then anybody has the draw computed, with a seed that nobody knew while
/// tickets were sold. The app sorts the tickets by hash with the seed and answers the number of the first: work that
/// grows with their number and that anybody can repeat, so the offer's verifier should be a quorum or the court. The
/// winner takes the pot when it likes.
/// @dev If a draw comes to nothing (declined, refunded), it can be asked for again after RETRY.
contract Raffle is TaskBase {
    using SafeERC20 for IERC20;

    uint256 public constant RETRY = 1 days;
    uint32 private constant CALLBACK_GAS = 60_000;

    uint256 public immutable TICKET_PRICE;
    uint256 public immutable SALE_END;

    address[] public tickets;
    uint256 public seedBlock;
    bytes32 public seed;
    bytes32 public drawing;
    uint256 public askedAt;
    address public winner;
    uint256 public pot;

    event TicketBought(address indexed player, uint256 indexed ticket);
    event Closed(uint256 seedBlock);
    event DrawAsked(bytes32 indexed order, bytes32 seed, uint256 tickets);
    event Won(address indexed player, uint256 indexed ticket);

    error SaleOver();
    error SaleNotOver();
    error NoTickets();
    error AlreadyClosed();
    error NoSeed();
    error AlreadyDrawn();
    error DrawUnderWay(bytes32 order);
    error NotWinner(address caller);
    error TicketUnknown(uint256 ticket);

    constructor(IMarket market, bytes32 offer, uint256 ticketPrice, uint256 saleEnd) TaskBase(market, offer) {
        (TICKET_PRICE, SALE_END) = (ticketPrice, saleEnd);
    }

    /// @notice Buys a ticket, by the caller's approval.
    function buy() external {
        if (block.timestamp > SALE_END) revert SaleOver();
        pot += TICKET_PRICE;
        tickets.push(msg.sender);
        emit TicketBought(msg.sender, tickets.length - 1);
        TOKEN.safeTransferFrom(msg.sender, address(this), TICKET_PRICE);
    }

    /// @notice Names the block whose hash will be the seed. It does not exist yet, so that nobody can wait for one to
    /// its liking. Anybody may call, and again only if that hash has gone out of reach unused.
    function close() external {
        if (block.timestamp <= SALE_END) revert SaleNotOver();
        if (tickets.length == 0) revert NoTickets();
        if (seed != 0 || (seedBlock != 0 && block.number <= seedBlock + 256)) revert AlreadyClosed();
        seedBlock = block.number + 2;
        emit Closed(seedBlock);
    }

    /// @notice Has the draw computed, at the caller's expense: an approval for the offer's unit price.
    function draw() external returns (bytes32) {
        if (winner != address(0)) revert AlreadyDrawn();
        if (drawing != 0 && block.timestamp <= askedAt + RETRY) revert DrawUnderWay(drawing);
        if (seed == 0) seed = blockhash(seedBlock);
        if (seed == 0) revert NoSeed();
        askedAt = block.timestamp;
        bytes memory params = abi.encode(address(this), seed, tickets.length);
        drawing = _ask(msg.sender, msg.sender, 1, CALLBACK_GAS, params);
        emit DrawAsked(drawing, seed, tickets.length);
        return drawing;
    }

    /// @notice The winner's way to the pot.
    function collect() external {
        if (msg.sender != winner) revert NotWinner(msg.sender);
        uint256 amount = pot;
        pot = 0;
        TOKEN.safeTransfer(msg.sender, amount);
    }

    function ticketCount() external view returns (uint256) {
        return tickets.length;
    }

    /// @dev An earlier draw that answers late is as good: it has the same seed.
    function _answer(bytes32, address, bytes calldata result) internal override returns (bytes31) {
        (,, bytes calldata answer) = Outcome.parse(result);
        uint256 ticket = abi.decode(answer, (uint256));
        if (ticket >= tickets.length) revert TicketUnknown(ticket);
        if (winner == address(0)) {
            winner = tickets[ticket];
            emit Won(winner, ticket);
        }
        // forge-lint: disable-next-line(unsafe-typecast)
        return bytes31(uint248(ticket)); // fits: there are fewer tickets
    }
}
