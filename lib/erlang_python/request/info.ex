defmodule ErlangPython.Request.Info do
  @moduledoc false
  # What `ErlangPython.info/1` shows, out of what the last worker said when it started.

  alias ErlangPython.Pool.{Directory, Handle, Slots}

  @spec describe(Handle.t()) :: map()
  def describe(handle) do
    hello = Directory.hello(handle)

    %{
      pool: handle.name,
      workers: Slots.count(handle),
      python: hello["python"],
      implementation: hello["implementation"],
      executable: hello["executable"],
      prefix: hello["prefix"],
      free_threaded: hello["free_threaded"],
      protocol: hello["protocol"],
      packages: %{
        "pyzmq" => hello["pyzmq"],
        "libzmq" => hello["libzmq"],
        "msgpack" => hello["msgpack"]
      }
    }
  end
end
