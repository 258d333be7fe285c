defmodule ErlangPython.ZMTP.ProtocolErrorTest do
  use ExUnit.Case, async: true

  alias ErlangPython.ZMTP.ProtocolError

  @reasons [
    :no_signature,
    {:version, 1},
    {:mechanism, "PLAIN"},
    {:flags, 0x80},
    {:message_size, 11, 10},
    {:command_size, 70_000, 65_536},
    {:frames, 10},
    {:malformed, "READY"},
    {:not_ready, :message},
    {:not_ready, :command},
    {:socket_type, nil},
    {:socket_type, "PUB"},
    :identity_size,
    :identity_reserved,
    {:error_command, "no"}
  ]

  test "every reason has a sentence" do
    for reason <- @reasons do
      message = Exception.message(%ProtocolError{reason: reason})
      assert message =~ " "
      refute message =~ inspect(reason)
    end
  end

  test "a peer's bytes are printable and few" do
    bytes = <<0, 7, 27>> <> :binary.copy(<<255>>, 10_000)
    message = Exception.message(%ProtocolError{reason: {:error_command, bytes}})
    assert String.printable?(message)
    assert byte_size(message) < 1_000
  end
end
