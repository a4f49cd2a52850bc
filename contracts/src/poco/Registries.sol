// SPDX-License-Identifier: MIT OR Apache-2.0
pragma solidity ^0.8.28;

import {App, Dataset, Workerpool} from "./Entries.sol";
import {Parts} from "./Parts.sol";
import {Clones} from "@openzeppelin/contracts/proxy/Clones.sol";
import {ERC721} from "@openzeppelin/contracts/token/ERC721/ERC721.sol";

/// @title Things that are owned, sold and ordered
/// @notice ERC-721 tokens whose id is the address of what they stand for. To transfer a token is to sell the thing.
/// @dev Enumerable by owner only: to number all tokens would cost every creation another 44,000 gas, and events do it.
abstract contract Registry is ERC721 {
    using Parts for bytes;

    mapping(address holder => mapping(uint256 index => uint256)) private _held;
    mapping(uint256 tokenId => uint256) private _indexOf;

    error IndexOutOfRange(address holder, uint256 index);

    function isRegistered(address entry) external view returns (bool) {
        return _ownerOf(uint160(entry)) != address(0);
    }

    function tokenOfOwnerByIndex(address holder, uint256 index) external view returns (uint256) {
        if (index >= balanceOf(holder)) revert IndexOutOfRange(holder, index);
        return _held[holder][index];
    }

    /// @dev The same holder cannot have the same content twice: it would be at the same address.
    function _create(address master_, address holder, bytes memory content) internal returns (address entry) {
        entry = Clones.cloneDeterministicWithImmutableArgs(master_, content, _saltOf(holder));
        _mint(holder, uint160(entry));
    }

    function _predict(address master_, address holder, bytes memory content) internal view returns (address) {
        return Clones.predictDeterministicAddressWithImmutableArgs(master_, content, _saltOf(holder));
    }

    function _update(address to, uint256 tokenId, address auth) internal override returns (address from) {
        from = super._update(to, tokenId, auth);
        if (from == to) return from;
        if (from != address(0)) _unlist(from, tokenId, balanceOf(from));
        uint256 index = balanceOf(to) - 1;
        _held[to][index] = tokenId;
        if (_indexOf[tokenId] != index) _indexOf[tokenId] = index;
    }

    /// @dev The last takes its place.
    function _unlist(address holder, uint256 tokenId, uint256 last) private {
        uint256 index = _indexOf[tokenId];
        if (index != last) {
            uint256 moved = _held[holder][last];
            _held[holder][index] = moved;
            _indexOf[moved] = index;
        }
        delete _held[holder][last];
    }

    function _saltOf(address holder) private pure returns (bytes32) {
        return bytes32(uint256(uint160(holder)));
    }
}

contract AppRegistry is Registry {
    using Parts for bytes;

    address public immutable master = address(new App(this));

    constructor() ERC721("gristmill apps", "APPS") {}

    function createApp(
        address owner,
        string memory name,
        string memory kind,
        bytes memory multiaddr,
        bytes32 checksum,
        bytes memory mrenclave
    ) external returns (address) {
        return _create(master, owner, _content(name, kind, multiaddr, checksum, mrenclave));
    }

    function predictApp(
        address owner,
        string memory name,
        string memory kind,
        bytes memory multiaddr,
        bytes32 checksum,
        bytes memory mrenclave
    ) external view returns (address) {
        return _predict(master, owner, _content(name, kind, multiaddr, checksum, mrenclave));
    }

    function _content(
        string memory name,
        string memory kind,
        bytes memory multiaddr,
        bytes32 checksum,
        bytes memory mrenclave
    ) private pure returns (bytes memory) {
        bytes memory row = Parts.join("", bytes(name)).join(bytes(kind)).join(multiaddr);
        return row.join(abi.encode(checksum)).join(mrenclave);
    }
}

contract DatasetRegistry is Registry {
    using Parts for bytes;

    address public immutable master = address(new Dataset(this));

    constructor() ERC721("gristmill datasets", "DATA") {}

    function createDataset(address owner, string memory name, bytes memory multiaddr, bytes32 checksum)
        external
        returns (address)
    {
        return _create(master, owner, _content(name, multiaddr, checksum));
    }

    function predictDataset(address owner, string memory name, bytes memory multiaddr, bytes32 checksum)
        external
        view
        returns (address)
    {
        return _predict(master, owner, _content(name, multiaddr, checksum));
    }

    function _content(string memory name, bytes memory multiaddr, bytes32 checksum)
        private
        pure
        returns (bytes memory)
    {
        return Parts.join("", bytes(name)).join(multiaddr).join(abi.encode(checksum));
    }
}

contract WorkerpoolRegistry is Registry {
    address public immutable master = address(new Workerpool(this));

    constructor() ERC721("gristmill pools", "POOL") {}

    function createWorkerpool(address owner, string memory description) external returns (address) {
        return _create(master, owner, Parts.join("", bytes(description)));
    }

    function predictWorkerpool(address owner, string memory description) external view returns (address) {
        return _predict(master, owner, Parts.join("", bytes(description)));
    }
}
