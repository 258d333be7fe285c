defmodule ErlangPython.ZMTP.CommandTest do
  use ExUnit.Case, async: true

  alias ErlangPython.ZMTP.{Command, ProtocolError}

  defp bytes(iodata), do: IO.iodata_to_binary(iodata)

  defp property(name, value),
    do: <<byte_size(name), name::binary, byte_size(value)::32, value::binary>>

  # rfc.zeromq.org/spec/37, "Worked Example"
  test "READY of the RFC's client" do
    body = <<5, "READY", 11, "Socket-Type", 0, 0, 0, 6, "DEALER", 8, "Identity", 0, 0, 0, 0>>
    assert byte_size(body) == 41

    assert Command.decode(body) ==
             {:ok, {:ready, %{"socket-type" => "DEALER", "identity" => ""}}}
  end

  # rfc.zeromq.org/spec/37, "Worked Example"
  test "READY of the RFC's server" do
    assert bytes(Command.encode({:ready, %{"Socket-Type" => "ROUTER"}})) ==
             <<0x04, 28, 5, "READY", 11, "Socket-Type", 0, 0, 0, 6, "ROUTER">>
  end

  # "The case (upper or lower) of names SHALL NOT be significant."
  test "names of properties in any case, and any further properties" do
    body = <<5, "READY">> <> property("SOCKET-type", "REQ") <> property("X-App.v+_1", <<0, 255>>)

    assert Command.decode(body) ==
             {:ok, {:ready, %{"socket-type" => "REQ", "x-app.v+_1" => <<0, 255>>}}}
  end

  test "READY without metadata" do
    assert Command.decode(<<5, "READY">>) == {:ok, {:ready, %{}}}
  end

  test "malformed metadata" do
    long = String.duplicate("n", 255)
    assert {:ok, _} = Command.decode(<<5, "READY">> <> property(long, ""))

    for metadata <- [
          <<0>>,
          # "Zero-sized names are not valid."
          property("", "value"),
          <<3, "ab">>,
          <<3, "abc", 0, 0>>,
          <<3, "abc", 0, 0, 0, 2, "x">>,
          # "The value SHALL be 0 to 2,147,483,647 octets"
          <<3, "abc", 0x80, 0, 0, 0>>,
          property("a b", "value"),
          property("ä", "value")
        ] do
      assert {:error, %ProtocolError{reason: {:malformed, "READY"}}} =
               Command.decode(<<5, "READY">> <> metadata)
    end
  end

  # error-reason = short-size 0*255VCHAR
  test "ERROR" do
    assert bytes(Command.encode({:error, "Refused"})) ==
             <<0x04, 14, 5, "ERROR", 7, "Refused">>

    assert Command.decode(<<5, "ERROR", 7, "Refused">>) == {:ok, {:error, "Refused"}}
    assert Command.decode(<<5, "ERROR", 0>>) == {:ok, {:error, ""}}

    for rest <- ["", <<8, "Refused">>, <<6, "Refused">>] do
      assert {:error, %ProtocolError{reason: {:malformed, "ERROR"}}} =
               Command.decode(<<5, "ERROR", rest::binary>>)
    end
  end

  # "Connection Heartbeating": ping-ttl = 2OCTET, ping-context = 0*16OCTET
  test "PING and PONG" do
    assert Command.decode(<<4, "PING", 0, 100, "context">>) == {:ok, {:ping, 100, "context"}}
    assert Command.decode(<<4, "PING", 0, 0>>) == {:ok, {:ping, 0, ""}}
    assert bytes(Command.encode({:pong, "context"})) == <<0x04, 12, 4, "PONG", "context">>
    assert Command.decode(<<4, "PONG">>) == {:ok, {:pong, ""}}

    context = String.duplicate("c", 16)
    assert Command.decode(<<4, "PING", 0, 0, context::binary>>) == {:ok, {:ping, 0, context}}

    for body <- [<<4, "PING">>, <<4, "PING", 0>>, <<4, "PING", 0, 0, context::binary, 0>>] do
      assert {:error, %ProtocolError{reason: {:malformed, "PING"}}} = Command.decode(body)
    end

    assert {:error, %ProtocolError{reason: {:malformed, "PONG"}}} =
             Command.decode(<<4, "PONG", context::binary, 0>>)
  end

  test "commands of other patterns are named, not understood" do
    assert Command.decode(<<9, "SUBSCRIBE", "topic">>) == {:ok, {:unknown, "SUBSCRIBE"}}
  end

  test "a command without a name" do
    for body <- [<<>>, <<0>>, <<0, "x">>, <<5, "PIN">>] do
      assert {:error, %ProtocolError{reason: {:malformed, "no name"}}} = Command.decode(body)
    end
  end
end
