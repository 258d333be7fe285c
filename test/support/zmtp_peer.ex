defmodule ErlangPython.ZMTPPeer do
  @moduledoc false
  # A Python process with pyzmq that plays the peer in ZMTP tests. Its script is given as text
  # and uses the names of zmtp_peer.py; it talks with the test in lines.

  import ExUnit.Assertions

  alias ErlangPython.ZMTP.Router

  # Only reached on a deadlock.
  @patience 60_000

  @spec start_peer(pid(), String.t()) :: port()
  def start_peer(router, script) do
    Port.open({:spawn_executable, ErlangPython.TestPython.executable()}, [
      :binary,
      :exit_status,
      :stderr_to_stdout,
      line: 65_536,
      args: ["-c", "import zmq\nfrom zmtp_peer import *\n" <> script, Router.endpoint(router)],
      env: [{~c"PYTHONPATH", String.to_charlist(__DIR__)}]
    ])
  end

  @doc "The next line it says must be this one."
  @spec expect(port(), String.t()) :: :ok
  def expect(peer, line) do
    assert_receive {^peer, {:data, {_eol, said}}}, @patience
    assert said == line
    :ok
  end

  @spec tell(port(), String.t()) :: true
  def tell(peer, line), do: Port.command(peer, [line, "\n"])

  @doc "It must end with status 0 and nothing more to say."
  @spec expect_exit(port()) :: :ok
  def expect_exit(peer) do
    receive do
      {^peer, {:exit_status, 0}} -> :ok
      {^peer, other} -> flunk("the peer went on or failed: #{inspect(rest(peer, [other]))}")
    after
      @patience -> flunk("the peer did not end")
    end
  end

  @spec os_pid(port()) :: pos_integer()
  def os_pid(peer), do: peer |> Port.info(:os_pid) |> elem(1)

  defp rest(peer, said) do
    receive do
      {^peer, {:data, {_eol, line}}} -> rest(peer, [line | said])
      {^peer, other} -> Enum.reverse([other | said])
    after
      1_000 -> Enum.reverse(said)
    end
  end
end
