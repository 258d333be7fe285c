defmodule ErlangPython.ZMTP.HandshakeTest do
  use ExUnit.Case, async: true

  alias ErlangPython.ZMTP.{Command, Greeting, Handshake, ProtocolError}

  defp ready(properties), do: IO.iodata_to_binary(Command.encode({:ready, properties}))

  defp feed(bytes), do: Handshake.feed(Handshake.new(), bytes)
  defp after_greeting(bytes), do: feed(Greeting.encode() <> bytes)

  defp refused(bytes) do
    assert {:error, %ProtocolError{reason: reason}, answer} = after_greeting(bytes)
    {reason, IO.iodata_to_binary(answer)}
  end

  test "gives identity, properties and what follows" do
    bytes = ready(%{"Socket-Type" => "DEALER", "Identity" => "me", "X-Extra" => "1"})

    assert after_greeting(bytes <> "traffic") ==
             {:ok,
              %{
                identity: "me",
                properties: %{"socket-type" => "DEALER", "identity" => "me", "x-extra" => "1"}
              }, "traffic"}
  end

  test "gives the same however the bytes are cut" do
    bytes = Greeting.encode() <> ready(%{"Socket-Type" => "DEALER", "Identity" => "me"})
    whole = feed(bytes)

    for cut <- 1..(byte_size(bytes) - 1) do
      {first, second} = :erlang.split_binary(bytes, cut)
      assert {:more, handshake} = feed(first)
      assert Handshake.feed(handshake, second) == whole
    end
  end

  # identity = 0*255OCTET
  test "takes identities of 0 to 255 octets" do
    for size <- [0, 1, 254, 255] do
      identity = String.duplicate("i", size)

      assert {:ok, %{identity: ^identity}, ""} =
               after_greeting(ready(%{"Socket-Type" => "DEALER", "Identity" => identity}))
    end

    assert {:ok, %{identity: ""}, ""} = after_greeting(ready(%{"socket-type" => "REQ"}))

    too_long = ready(%{"Socket-Type" => "DEALER", "Identity" => String.duplicate("i", 256)})
    assert {:identity_size, <<4, _, 5, "ERROR", _, "Invalid-Identity">>} = refused(too_long)
  end

  # "The first octet of the Identity SHALL NOT be zero"
  test "refuses a reserved identity" do
    bytes = ready(%{"Socket-Type" => "DEALER", "Identity" => <<0, 1>>})
    assert {:identity_reserved, <<4, _, 5, "ERROR", _::binary>>} = refused(bytes)
  end

  # "it SHOULD handle errors by returning an ERROR command, and then disconnecting"
  test "refuses socket types that can't talk to a ROUTER" do
    for type <- ["PUB", "REP", "PAIR", "dealer", ""] do
      assert {{:socket_type, ^type}, <<4, _, 5, "ERROR", 19, "Invalid-Socket-Type">>} =
               refused(ready(%{"Socket-Type" => type}))
    end

    assert {{:socket_type, nil}, _} = refused(ready(%{}))
  end

  test "refuses a message, and a command other than READY" do
    assert {{:not_ready, :message}, _} = refused(<<0, 1, "x">>)
    assert {{:not_ready, :message}, _} = refused(<<0, 0>>)
    assert {{:not_ready, :message}, _} = refused(<<1>>)
    assert {{:not_ready, :message}, _} = refused(<<2, -1::64>>)
    assert {{:not_ready, :command}, _} = refused(<<4, 7, 4, "PING", 0, 0>>)
    assert {{:command_size, 65_537, 65_536}, _} = refused(<<6, 65_537::64>>)
    assert {{:flags, 9}, _} = refused(<<9>>)
  end

  test "has nothing to say to a peer of another version or mechanism" do
    assert {:error, %ProtocolError{reason: :no_signature}, []} = feed("GET /")
    assert {:error, %ProtocolError{reason: {:version, 1}}, []} = feed(<<0xFF, 0::64, 0x7F, 1>>)
  end

  test "ends with the peer's ERROR" do
    assert {{:error_command, "no"}, ""} = refused(<<4, 9, 5, "ERROR", 2, "no">>)
  end
end
