defmodule ErlangPython.ZMTP.PeerCredentials do
  @moduledoc false
  # Who connected, by the kernel's word: SO_PEERCRED (unix(7)), on Linux unix sockets only.

  @sol_socket 1
  @so_peercred 17
  # struct ucred: pid, uid, gid, 32 bits each.
  @ucred_size 12

  @type t :: %{os_pid: pos_integer() | nil, uid: non_neg_integer() | nil}

  @doc "`%{os_pid: nil, uid: nil}` where the system cannot tell."
  @spec read(:gen_tcp.socket(), :ipc | :tcp) :: {:ok, t()} | {:error, :inet.posix()}
  def read(socket, :ipc) do
    if :os.type() == {:unix, :linux}, do: read_peercred(socket), else: {:ok, unknown()}
  end

  def read(_socket, :tcp), do: {:ok, unknown()}

  defp read_peercred(socket) do
    case :inet.getopts(socket, [{:raw, @sol_socket, @so_peercred, @ucred_size}]) do
      {:ok, [{:raw, _, _, <<pid::native-32, uid::native-32, _gid::native-32>>}]} ->
        # 0: a process that our pid namespace does not show.
        {:ok, %{os_pid: if(pid > 0, do: pid), uid: uid}}

      {:ok, _other} ->
        {:error, :einval}

      {:error, reason} ->
        {:error, reason}
    end
  end

  defp unknown, do: %{os_pid: nil, uid: nil}
end
