defmodule ErlangPython.ZMTP.GreetingTest do
  use ExUnit.Case, async: true

  alias ErlangPython.ZMTP.{Greeting, ProtocolError}

  # rfc.zeromq.org/spec/37, "Worked Example"
  @vector <<0xFF, 0::64, 0x7F, 3, 1, "NULL", 0::16*8, 0, 0::31*8>>

  defp reason(bytes) do
    assert {:error, %ProtocolError{reason: reason}} = Greeting.decode(bytes)
    reason
  end

  test "is the RFC's" do
    assert Greeting.encode() == @vector
    assert byte_size(@vector) == 64
  end

  test "needs each of its 64 octets" do
    for size <- 0..63, do: assert(Greeting.decode(binary_part(@vector, 0, size)) == :more)
    assert Greeting.decode(@vector <> "rest") == {:ok, {3, 1}, "rest"}
  end

  # "A peer MUST accept higher protocol versions as valid"; 3.0 differs in no octet we need.
  test "accepts 3.0 and everything newer" do
    for {major, minor} <- [{3, 0}, {3, 1}, {3, 2}, {4, 0}, {255, 255}] do
      greeting = <<0xFF, 0::64, 0x7F, major, minor, "NULL", 0::16*8, 0, 0::31*8>>
      assert Greeting.decode(greeting) == {:ok, {major, minor}, ""}
    end
  end

  # "A peer SHALL NOT assign any significance to the padding field": libzmq puts 1 there.
  test "does not look at padding, as-server and filler" do
    greeting = <<0xFF, 1::64, 0x7F, 3, 1, "NULL", 0::16*8, 1, -1::31*8>>
    assert Greeting.decode(greeting) == {:ok, {3, 1}, ""}
  end

  # "Detecting ZMTP 1.0 and 2.0 Peers"
  test "tells older peers by the first octets they send" do
    assert reason(<<1, 0>>) == :no_signature
    assert reason(<<0xFF, 0::64, 0>>) == :no_signature
    assert reason(<<0xFF, 0::64, 0x7F, 1>>) == {:version, 1}
    assert reason(<<0xFF, 0::64, 0x7F, 2>>) == {:version, 2}
    assert reason("GET / HTTP/1.1\r\n") == :no_signature
  end

  # "If the mechanism ... does not exactly match ..., it MUST close the connection."
  test "refuses other mechanisms as soon as they are named" do
    for name <- ["PLAIN", "CURVE", "NULLX", "NUL", ""] do
      padding = 20 - byte_size(name)
      greeting = <<0xFF, 0::64, 0x7F, 3, 1, name::binary, 0::size(padding)-unit(8)>>
      assert reason(greeting) == {:mechanism, name}
    end
  end
end
