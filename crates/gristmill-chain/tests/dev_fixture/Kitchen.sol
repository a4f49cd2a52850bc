// SPDX-License-Identifier: MIT OR Apache-2.0
// What the differential test runs on both chains. Rebuild Kitchen.hex after a change:
//   contracts/node_modules/.bin/solcjs --bin --optimize --evm-version cancun (the creation code, without 0x)
pragma solidity ^0.8.28;

contract Child {
    uint256 public value;

    constructor(uint256 v, bool fail) payable {
        require(!fail, "child refuses");
        value = v;
    }

    function end(address payable to) external {
        selfdestruct(to);
    }

    receive() external payable {}
}

contract Ephemeral {
    constructor(address payable to) payable {
        selfdestruct(to);
    }
}

contract Kitchen {
    error Custom(uint256 number, bytes text);
    event Nothing() anonymous;
    event One(uint256 indexed a, bytes data);
    event Three(uint256 indexed a, address indexed b, bytes32 indexed c, string text);

    mapping(uint256 => uint256) public slots;
    uint256 public counter;
    address payable public last;
    uint256 transient scratch;

    constructor() payable {}

    receive() external payable {
        counter += msg.value;
    }

    function store(uint256 from, uint256 count, uint256 value) external {
        for (uint256 i = 0; i < count; i++) slots[from + i] = value;
    }

    function bounce(uint256 slot, uint256 value) external {
        uint256 old = slots[slot];
        slots[slot] = value;
        slots[slot] = old;
    }

    function logs(uint256 count, uint256 bytes_) external {
        bytes memory data = new bytes(bytes_);
        for (uint256 i = 0; i < count; i++) {
            emit One(i, data);
            emit Three(i, msg.sender, keccak256(data), "three");
        }
        emit Nothing();
    }

    function refuse(uint256 kind, bytes calldata text) external {
        counter++;
        if (kind == 0) revert();
        if (kind == 1) revert(string(text));
        if (kind == 2) revert Custom(kind, text);
        if (kind == 3) assert(false);
        if (kind == 4) counter = 1 / (counter - counter);
        if (kind == 5) {
            assembly {
                invalid()
            }
        }
        while (true) counter++;
    }

    function child(uint256 value, uint256 wei_, bool fail) external {
        last = payable(address(new Child{value: wei_}(value, fail)));
    }

    function child2(bytes32 salt, uint256 wei_) external {
        last = payable(address(new Child{salt: salt, value: wei_}(1, false)));
    }

    function tryChild(uint256 value) external returns (bool made) {
        try new Child(value, true) {
            made = true;
        } catch {
            counter += 7;
        }
    }

    function endChild(address payable to) external {
        Child(last).end(to);
    }

    function ephemeral(address payable to, uint256 wei_) external {
        new Ephemeral{value: wei_}(to);
    }

    function pay(address payable to, uint256 wei_, uint256 gas_) external {
        (bool ok,) = to.call{value: wei_, gas: gas_}("");
        slots[uint256(uint160(address(to)))] = ok ? 1 : 2;
    }

    function transientSum(uint256 count) external {
        for (uint256 i = 0; i < count; i++) scratch += i;
        counter = scratch;
    }

    function recurse(uint256 depth) external {
        counter++;
        if (depth > 0) this.recurse(depth - 1);
    }

    function hashes(bytes calldata data) external {
        slots[1] = uint256(sha256(data));
        slots[2] = uint256(uint160(ripemd160(data)));
        slots[3] = uint256(uint160(ecrecover(keccak256(data), 27, sha256(data), keccak256(data))));
    }

    function precompile(address at, bytes calldata input, uint256 gas_) external {
        (bool ok, bytes memory output) = at.call{gas: gas_}(input);
        slots[uint256(uint160(at))] = (ok ? 1 : 2) + output.length;
        emit One(uint160(at), output);
    }

    function environment() external {
        slots[10] = block.timestamp;
        slots[11] = block.number;
        slots[12] = block.basefee;
        slots[13] = block.chainid;
        slots[14] = block.gaslimit;
        slots[15] = tx.gasprice;
        slots[16] = uint160(address(block.coinbase));
        slots[17] = address(this).balance;
        slots[18] = gasleft();
        slots[19] = uint256(uint160(tx.origin)) + block.blobbasefee;
    }

    function memory_(uint256 bytes_) external returns (uint256 length) {
        bytes memory large = new bytes(bytes_);
        length = large.length;
        counter += length;
    }
}
