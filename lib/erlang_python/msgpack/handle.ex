defmodule ErlangPython.MessagePack.Handle do
  @moduledoc false
  # Pids, ports, references and functions travel in Erlang's external format, which Python can
  # only hand back. The mac proves that this BEAM made the bytes: without it a peer could
  # name any process, or any function of any module, as its own "callable".

  @key {__MODULE__, :key}
  @mac_size 16

  @spec seal(term()) :: binary()
  def seal(term) do
    external = :erlang.term_to_binary(term)
    <<mac(external)::binary, external::binary>>
  end

  @spec open(binary()) :: {:ok, term()} | :error
  def open(<<mac::binary-size(@mac_size), external::binary>>) do
    if :crypto.hash_equals(mac, mac(external)), do: load(external), else: :error
  end

  def open(_data), do: :error

  # All atoms in it exist, as this BEAM wrote them: `:safe` costs nothing and keeps an error
  # in the mac's favour small.
  defp load(external) do
    {:ok, :erlang.binary_to_term(external, [:safe])}
  rescue
    ArgumentError -> :error
  end

  defp mac(external), do: :crypto.macN(:hmac, :sha256, key(), external, @mac_size)

  defp key, do: :persistent_term.get(@key, nil) || make_key()

  # Under a lock of this node, for two processes that both come first must agree.
  defp make_key do
    :global.trans({@key, self()}, fn -> :persistent_term.get(@key, nil) || put_key() end, [node()])
  end

  defp put_key do
    key = :crypto.strong_rand_bytes(32)
    :persistent_term.put(@key, key)
    key
  end
end
